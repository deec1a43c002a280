"""Safetensors: what is written is read back by the library's reader, in one file and in several."""

import json

import ml_dtypes
import numpy as np
import pytest

from jaxssl.interop.huggingface.tensor_files import open_tensors
from jaxssl.interop.huggingface.tensor_writing import Form, write_tensor_files

TENSORS = {
    "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "a.bias": np.arange(3).astype(ml_dtypes.bfloat16),
    "scalar": np.array(7, np.int64),
    "none": np.zeros((0, 2), np.float16),
    "ä": np.array([True, False]),
}
FORMS = {name: Form(tensor.shape, tensor.dtype) for name, tensor in TENSORS.items()}


@pytest.mark.parametrize(("largest", "count"), [(10**6, 1), (60, 2), (1, 5)])
def test_written_and_read(tmp_path, largest, count):
    names = write_tensor_files(tmp_path, FORMS, TENSORS.items(), largest=largest)
    assert len(names) == count
    assert (names == ["model.safetensors"]) == (count == 1)
    files = open_tensors(tmp_path)
    assert sorted(files.names) == sorted(TENSORS)
    for name, tensor in TENSORS.items():
        assert files.view(name).dtype == tensor.dtype
        np.testing.assert_array_equal(files.view(name), tensor)


def test_the_library_safetensors_reads_it(tmp_path):
    library = pytest.importorskip("safetensors")
    write_tensor_files(tmp_path, FORMS, TENSORS.items())
    with library.safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
        assert sorted(file.keys()) == sorted(TENSORS)
        np.testing.assert_array_equal(file.get_tensor("a.weight"), TENSORS["a.weight"])


def test_data_begin_at_a_multiple_of_eight(tmp_path):
    write_tensor_files(tmp_path, FORMS, TENSORS.items())
    content = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    assert json.loads(content[8 : 8 + length])["a.weight"]["data_offsets"] == [0, 48]


def test_the_index_lists_all(tmp_path):
    write_tensor_files(tmp_path, FORMS, TENSORS.items(), largest=60)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in TENSORS.values())
    assert index["weight_map"]["a.weight"] == "model-00001-of-00002.safetensors"
    assert sorted(index["weight_map"]) == sorted(TENSORS)


def test_tensors_that_are_not_those_of_the_forms(tmp_path):
    other = TENSORS | {"a.bias": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match=r"a\.bias is float32\[3\] where a\.bias, bfloat16\[3\]"):
        write_tensor_files(tmp_path, FORMS, other.items())
    with pytest.raises(ValueError, match="the tensor nothing is"):
        write_tensor_files(tmp_path, FORMS, list(TENSORS.items())[:2])
    with pytest.raises(ValueError, match="the tensor b has no form"):
        write_tensor_files(tmp_path, FORMS, [*TENSORS.items(), ("b", np.zeros(1))])
