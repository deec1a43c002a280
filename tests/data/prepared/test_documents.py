"""The documents of a shard's rows: there and back, whatever the names, and always the same bytes."""

import contextlib

import numpy as np
import pytest

from jaxssl.data.prepared.documents import read_documents, write_documents
from jaxssl.errors import InputError

OFFSETS, DOCUMENTS = np.array([0, 2, 2, 3]), np.array([0, 1, 1])


@pytest.mark.parametrize("names", [["a", "b"], ["größe/中.txt#0", "bad \udcff name"], ["", "x"]])
def test_there_and_back(tmp_path, names):
    write_documents(tmp_path / "a.npz", names, OFFSETS, DOCUMENTS)
    found, offsets, documents = read_documents(tmp_path / "a.npz")
    assert found == names
    np.testing.assert_array_equal(offsets, OFFSETS)
    np.testing.assert_array_equal(documents, DOCUMENTS)
    assert (offsets.dtype, documents.dtype) == (np.int64, np.int32)


def test_the_bytes_depend_on_the_content_alone(tmp_path):
    write_documents(tmp_path / "a.npz", ["a", "b"], OFFSETS, DOCUMENTS)
    write_documents(tmp_path / "b.npz", ["a", "b"], OFFSETS.astype(np.int32), DOCUMENTS.copy())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def damaged(path, **arrays):
    whole = {
        "names": np.frombuffer(b"a\0b", np.uint8),
        "offsets": OFFSETS.astype(np.int64),
        "documents": DOCUMENTS.astype(np.int32),
    }
    np.savez_compressed(path, **{k: v for k, v in (whole | arrays).items() if v is not None})


WRONG = [
    {"names": np.array(["a", "b"], object)},  # would run code if it were unpickled
    {"names": np.array(["a", "b"])},
    {"names": None},
    {"offsets": OFFSETS.astype(float)},
    {"offsets": np.array([0, 2, 1, 3])},
    {"offsets": np.array([0, 2, 2, 4])},
    {"offsets": np.array([], np.int64)},
    {"offsets": OFFSETS[None]},
    {"documents": np.array([0, 1, 7], np.int32)},
    {"documents": np.array([0, 1, -1], np.int32)},
    {"documents": np.array(5, np.int32)},
]


@pytest.mark.parametrize("arrays", WRONG)
def test_a_file_of_something_else(tmp_path, arrays):
    damaged(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=r"a\.npz cannot be read .*prepare the set anew") as told:
        read_documents(tmp_path / "a.npz", 3)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", bytes(range(256)) * 9])
def test_a_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz cannot be read"):
        read_documents(tmp_path / "a.npz")


def test_rows_are_counted_and_files_are_bounded(tmp_path, monkeypatch):
    write_documents(tmp_path / "a.npz", ["a", "b"], OFFSETS, DOCUMENTS)
    with pytest.raises(InputError, match="it is of 3 rows, not 4"):
        read_documents(tmp_path / "a.npz", 4)
    with pytest.raises(InputError, match="cannot be read"):
        read_documents(tmp_path / "none.npz")
    monkeypatch.setattr("jaxssl.data.prepared.documents.LARGEST", 100)
    with pytest.raises(InputError, match=r"its arrays would have [0-9,]+ bytes"):
        read_documents(tmp_path / "a.npz", 3)


def test_every_damage_is_one_line(tmp_path):
    write_documents(tmp_path / "a.npz", ["a", "b"], OFFSETS, DOCUMENTS)
    whole = (tmp_path / "a.npz").read_bytes()
    random = np.random.default_rng(0)
    for flips in range(60):
        content = np.frombuffer(whole, np.uint8).copy()
        content[random.integers(len(content), size=1 + flips % 20)] = random.integers(256)
        (tmp_path / "a.npz").write_bytes(content.tobytes())
        with contextlib.suppress(InputError):
            read_documents(tmp_path / "a.npz", 3)
