"""What a label of an image may be: markers of unknown labels are none, and look-alikes are the same."""

import numpy as np
import pytest

from jaxssl.data.sources.image_labels import folder_label, label_of
from jaxssl.errors import InputError

MARKERS = [None, -1, np.int64(-1), -2.0, float("nan"), np.float32("nan"), "", " ", b""]
MARKERS += ["-1", "-1.0", "nan", "NaN", "NA", "n/a", "?", "-", "None", "null", b"-1"]
NAMES = ["cat", "dog", "truck"]


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("names", [None, NAMES])
def test_markers_are_no_labels(marker, names):
    assert label_of(marker, "a#0", names) is None


@pytest.mark.parametrize(
    ("value", "names", "label"),
    [
        (2, NAMES, "truck"),
        (np.uint8(2), NAMES, "truck"),
        (0, None, "0"),
        (0.0, None, "0"),
        (np.array(3), None, "3"),
        (b"caf\xc3\xa9", None, "caf\xe9"),
        ("cafe\u0301", None, "caf\xe9"),  # decomposed
        ("007", None, "007"),
        ("1.0", None, "1"),
        ("12", None, "12"),
        ("1a", None, "1a"),
    ],
)
def test_names_and_numbers(value, names, label):
    assert label_of(value, "a#0", names) == label


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (0.5, "label 0.5 is a measurement, not a class; give each example the name of a class"),
        ("0.5", "label 0.5 is a measurement"),
        (float("inf"), "label inf is a measurement"),
        ([1, 2], "is a list, not the name of a class"),
        (np.array([0, 1]), "is a ndarray, not the name of a class"),
        ({"a": 1}, "is a dict, not the name of a class"),
        (1j, "is a complex, not the name of a class"),
        (3, "the label 3 exceeds the 3 names of classes"),
        ("caf\udce9", "is not UTF-8; rename it"),
        (b"caf\xe9", "is not UTF-8; rename it"),
    ],
)
def test_everything_else_is_refused(value, line):
    with pytest.raises(InputError, match=f"a#0: .*{line}"):
        label_of(value, "a#0", NAMES)


def test_a_folder_is_a_label_as_it_is_written():
    for name in ("NA", "-1", "0.5", "1.0", "none"):
        assert folder_label(name, "a/0.png") == name
    assert folder_label("cafe\u0301 ", "a/0.png") == "caf\xe9"
    with pytest.raises(InputError, match="'caf.*' is not UTF-8; rename it"):
        folder_label("caf\udce9", "caf\udce9/0.png")
