"""Trees of arrays as `.npz`: what numpy reads by itself, and nothing that it would unpickle."""

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.numpy_archive import read_arrays, write_arrays

ARRAYS = {
    "encoder/tokens/embedding": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scalar": np.array(-0.5, np.float32),
    "empty": np.zeros((0, 3), np.int32),
    "transposed": np.arange(6.0).reshape(2, 3).T,
}


def test_numpy_reads_what_was_written(tmp_path):
    write_arrays(tmp_path / "a.npz", ARRAYS)
    with np.load(tmp_path / "a.npz") as archive:
        assert archive.files == list(ARRAYS)
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(archive[name], array)
            assert archive[name].dtype == array.dtype
    assert read_arrays(tmp_path / "a.npz").keys() == ARRAYS.keys()


def test_equal_arrays_give_equal_files(tmp_path):
    for name in ("a", "b"):
        write_arrays(tmp_path / name, ARRAYS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_objects_are_neither_written_nor_read(tmp_path):
    with pytest.raises(ValueError, match="Object arrays"):
        write_arrays(tmp_path / "a.npz", {"a": np.array([{}])})
    np.savez(tmp_path / "b.npz", a=np.array([{}]))
    with pytest.raises(InputError, match=r"b\.npz cannot be read as arrays"):
        read_arrays(tmp_path / "b.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x80\x04."])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as arrays"):
        read_arrays(tmp_path / "a.npz")
    with pytest.raises(InputError, match="cannot be read as arrays"):
        read_arrays(tmp_path / "missing.npz")
