"""Trees from nested dicts by path, and why a dict does not fit."""

import numpy as np
import pytest

from jaxssl.runs.paths import differences, from_nested

TEMPLATE = {"encoder": {"kernel": np.zeros((2, 3)), "bias": np.zeros(3)}, "layers": (np.zeros(1),)}


def test_leaves_come_by_path():
    nested = {
        "encoder": {"bias": "b", "kernel": "k", "superfluous": "s"},
        "layers": {"0": "first"},
    }
    expected = {"encoder": {"kernel": "k", "bias": "b"}, "layers": ("first",)}
    assert from_nested(TEMPLATE, nested) == expected


@pytest.mark.parametrize("encoder", [{"kernel": "k"}, "no dict"])
def test_a_missing_path_is_named(encoder):
    with pytest.raises(KeyError, match="encoder/bias"):
        from_nested(TEMPLATE, {"encoder": encoder, "layers": {"0": "first"}})


def test_differences_are_named_one_a_line():
    assert differences(TEMPLATE, TEMPLATE) == []
    narrower = np.zeros((2, 3), np.float16)  # types are not compared
    found = {"encoder": {"kernel": narrower, "scale": np.zeros(3)}, "layers": {"0": np.zeros(2)}}
    assert differences(TEMPLATE, found) == [
        "encoder/bias is missing",
        "encoder/scale is not in the model",
        "layers/0 has shape (2,), the model has (1,)",
    ]
