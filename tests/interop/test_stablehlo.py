"""Functions as StableHLO: read back, they compute the same for every size, up to their limit."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.stablehlo import LARGEST, check_stablehlo, read_stablehlo, write_stablehlo

SHAPES = {"rows": (("batch", "length"), "float32"), "kernel": ((3,), "float32")}


def scaled(rows, kernel):
    assert rows.shape[1] <= 4  # decided while tracing, by the limit
    return {"sum": (TABLE * rows).sum(axis=1), "kernel": kernel * 2}


TABLE = jnp.float32(3.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    pytest.importorskip("flatbuffers")
    path = tmp_path_factory.mktemp("stablehlo") / "a.stablehlo"
    write_stablehlo(path, scaled, SHAPES, {"length": 4})
    return path


def test_any_size_up_to_the_limit(path):
    call = read_stablehlo(path)
    for batch, length in ((1, 1), (5, 4)):
        rows = np.arange(batch * length, dtype=np.float32).reshape(batch, length)
        found = call(rows=rows, kernel=np.ones(3, np.float32))
        np.testing.assert_array_equal(found["sum"], 3 * rows.sum(axis=1))
        np.testing.assert_array_equal(found["kernel"], [2, 2, 2])
    with pytest.raises(ValueError, match="shapes"):
        call(rows=np.zeros((2, 5), np.float32), kernel=np.ones(3, np.float32))


def test_one_file_is_for_all_platforms(path):
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")


def test_what_is_no_function(tmp_path):
    pytest.importorskip("flatbuffers")
    with pytest.raises(InputError, match=r"a cannot be read \(No such file"):
        read_stablehlo(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"a is no function that jax\.export has written"):
        read_stablehlo(tmp_path / "a")


def test_what_cannot_be_written(monkeypatch):
    with pytest.raises(InputError, match=r"2\.0 GiB, and a StableHLO file holds at most 2\.0 GiB"):
        check_stablehlo(LARGEST + 1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install flatbuffers"):
        check_stablehlo()
