"""The documents of a shard's rows: there and back, whatever the names, and always the same bytes."""

import numpy as np
import pytest

from jaxssl.data.prepared.documents import read_documents, write_documents

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
