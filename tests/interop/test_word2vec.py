import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.word2vec import read_word2vec, write_word2vec

VECTORS = np.array([[1.0, -0.25, 1e-7], [3.14159265, 0.0, -2e5]], np.float32)


def test_goes_there_and_back(tmp_path):
    write_word2vec(tmp_path / "v.txt", ["king", "größe"], VECTORS)
    text = (tmp_path / "v.txt").read_text(encoding="utf-8")
    assert text.startswith("2 3\nking 1 -0.25 1e-07\n")
    words, vectors = read_word2vec(tmp_path / "v.txt")
    assert words == ["king", "größe"]
    np.testing.assert_allclose(vectors, VECTORS, rtol=1e-5)


@pytest.mark.parametrize("words", [["a", "a"], ["a", "b c"], ["a", ""]])
def test_words_that_no_reader_could_tell_apart_are_refused(words, tmp_path):
    with pytest.raises(InputError, match="hold no white space"):
        write_word2vec(tmp_path / "v.txt", words, VECTORS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("king 1 2", "does not begin with"),
        ("1 2\nking 1", "line 2: 1 numbers where dim is 2"),
        ("2 1\nking 1", "holds 1 words where its first line says 2"),
    ],
)
def test_broken_files(text, line, tmp_path):
    (tmp_path / "v.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=line):
        read_word2vec(tmp_path / "v.txt")
