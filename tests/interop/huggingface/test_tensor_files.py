import json
import struct

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.tensor_files import open_tensors, read_header
from tests.interop.huggingface.random_folder import write_safetensors

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "none": np.zeros((0, 4), np.float32),
    "one": np.float32(7).reshape(()),
    "b": np.arange(4, dtype=np.float16),
}


def write(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def entry(**changes):
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


def test_tensors_are_read_as_they_were_written(tmp_path):
    write_safetensors(tmp_path / "model.safetensors", TENSORS)
    files = open_tensors(tmp_path)
    assert set(files.names) == set(TENSORS)
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(files.view(name), tensor)
        assert files.view(name).dtype == tensor.dtype
    with pytest.raises(ValueError, match="read-only"):
        files.view("a")[0] = 1
    assert files.renamed({"c": "a"}).names == ("c",)
    assert files.only(["b"]).names == ("b",)


def test_an_index_names_the_files(tmp_path):
    for name in ("a", "b"):
        write_safetensors(tmp_path / f"{name}.safetensors", {name: TENSORS[name]})
    index = {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    files = open_tensors(tmp_path)
    np.testing.assert_array_equal(files.view("b"), TENSORS["b"])
    path.write_text(json.dumps({"weight_map": {"c": "a.safetensors"}}))
    with pytest.raises(InputError, match="holds the tensor 'c', and it does not"):
        open_tensors(tmp_path)
    for outside in ("../a.safetensors", "/etc/passwd", "x/a.safetensors", ""):
        path.write_text(json.dumps({"weight_map": {"a": outside}}))
        with pytest.raises(InputError, match="plain file name"):
            open_tensors(tmp_path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([1], "is no object"),
        (b"{]", "cannot be read"),
        ({"a": entry(dtype="F33")}, "unknown dtype"),
        ({"a": entry(shape=[3])}, "takes 12"),
        ({"a": entry(shape=[-2])}, "shape"),
        ({"a": entry(shape=[2.0])}, "shape"),
        ({"a": entry(shape=[1] * 9 + [2])}, "shape"),
        ({"a": entry(shape=[2**40, 2**40])}, "takes"),
        ({"a": entry(data_offsets=[8, 16])}, "behind a gap"),
        ({"a": entry(), "b": entry()}, "overlaps"),
        ({"a": entry(data_offsets=[0, 8, 9])}, "data_offsets"),
        ({"a": entry(shape=[4], data_offsets=[0, 16])}, "describes"),
        ({"a": 3}, "tensor"),
        ({"n" * 600: entry()}, "600 characters"),
        ({}, "describes"),
    ],
)
def test_damaged_headers_are_refused(header, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_header(write(tmp_path / "model.safetensors", header, bytes(8)))


def test_lengths_of_headers_that_no_file_has_take_no_memory(tmp_path):
    path = tmp_path / "model.safetensors"
    for length in (0, 1, 9, 2**40, 2**63):
        with pytest.raises(InputError, match="no complete safetensors file"):
            read_header(write(path, b"{}", b"", length))
    path.write_bytes(b"abc")
    with pytest.raises(InputError, match="no complete safetensors file"):
        read_header(path)


def test_pickled_weights_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"neither model\.safetensors nor"):
        open_tensors(tmp_path)
    for name in ("pytorch_model.bin", "model.pt", "last.ckpt"):
        (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
        with pytest.raises(InputError, match=r"run any code.*save_pretrained"):
            open_tensors(tmp_path)
        (tmp_path / name).unlink()
