"""Search by cosines: all of the corpus, block by block; the index in a file knows what it was made of."""

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.pretrained import search
from jaxssl.pretrained.search import as_units, build_index, nearest, open_index

VECTORS = {"a": [3.0, 0.0], "b": [0.0, 2.0], "c": [1.0, 1.0], "d": [0.0, 0.0], "e": [5.0, 0.0]}


class Fake:
    """An embedder of letters, which counts the texts that it embeds."""

    def __init__(self, fingerprint="one"):
        self.fingerprint, self.embedded = fingerprint, 0

    def __call__(self, texts, progress=None):
        self.embedded += len(texts)
        return np.array([VECTORS[text] for text in texts], np.float32).reshape(-1, 2)


def test_the_nearest_by_hand():
    index = build_index(Fake(), list("abcde"))
    (found,) = index.search(["c"], count=4)
    assert [match.position for match in found] == [2, 0, 1, 4]  # equal ones in their order
    np.testing.assert_allclose([m.score for m in found], [1, 0.5**0.5, 0.5**0.5, 0.5**0.5])
    assert len(index.search(["a", "b"], count=9)[1]) == 5
    assert index.search([]) == []
    with pytest.raises(InputError, match="count=0 must be at least 1"):
        index.search(["a"], count=0)


def test_blocks_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    corpus = as_units(random.integers(-2, 3, (101, 4)).astype(np.float32))  # with many equal scores
    queries = as_units(random.normal(size=(5, 4)).astype(np.float32))
    expected = [np.argsort(-row, kind="stable")[:7] for row in queries @ corpus.T]
    for size in (101, 10, 3):
        monkeypatch.setattr(search, "BLOCK", size)
        monkeypatch.setattr(search, "QUERIES", 2)
        ids, scores = nearest(corpus, queries, 7)
        for own, values, best, query in zip(ids, scores, expected, queries, strict=True):
            np.testing.assert_allclose(values, (corpus @ query)[own], rtol=1e-5)
            np.testing.assert_allclose(values, (corpus @ query)[best], rtol=1e-5)


def test_an_index_is_used_until_its_texts_or_its_network_change(tmp_path):
    path, embed = tmp_path / "corpus.index", Fake()
    first = open_index(embed, list("abc"), path)
    again = open_index(embed, list("abc"), path)
    assert embed.embedded == 3
    np.testing.assert_array_equal(first.units, again.units)
    assert open_index(embed, list("abe"), path).search(["e"], 1)[0][0].position == 0
    assert embed.embedded == 3 + 3 + 1
    other = Fake("two")
    open_index(other, list("abe"), path)
    assert other.embedded == 3
    assert [one.name for one in tmp_path.iterdir()] == ["corpus.index"]


def test_another_file_is_not_replaced(tmp_path):
    for content in (b"my text", b""):
        (tmp_path / "notes").write_bytes(content)
        with pytest.raises(InputError, match="notes exists and is no search index; name another"):
            open_index(Fake(), list("ab"), tmp_path / "notes")
        assert (tmp_path / "notes").read_bytes() == content
