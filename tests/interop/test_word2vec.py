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


@pytest.mark.parametrize("words", [["a", "a"], ["a", "b c"], ["a", ""], ["wait\x85"]])
def test_words_that_no_reader_could_tell_apart_are_refused(words, tmp_path):
    with pytest.raises(InputError, match="hold no white space"):
        write_word2vec(tmp_path / "v.txt", words, VECTORS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("king 1 2", "does not begin with"),
        ("1 2\nking 1", "line 2: 1 numbers where dim is 2"),
        ("2 1\nking 1", "holds 1 words where its first line says 2"),
        ("1 1\nking one", "line 2: could not convert"),
        ("1 99999999999\nking 1", "line 2: 1 numbers where dim is 99999999999"),
        ("", "does not begin with"),
    ],
)
def test_broken_files(text, line, tmp_path):
    (tmp_path / "v.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=line):
        read_word2vec(tmp_path / "v.txt")


def test_lines_end_at_line_breaks_and_nowhere_else(tmp_path):
    """The third word of the table holds what str.splitlines takes for a line break."""
    (tmp_path / "v.txt").write_bytes(
        "\ufeff3 2\r\nking 1 2 \na\u2028b 3 4\nwait\x85 5 6\n".encode()
    )
    words, vectors = read_word2vec(tmp_path / "v.txt")
    assert words == ["king", "a\u2028b", "wait\x85"]
    np.testing.assert_array_equal(vectors, [[1, 2], [3, 4], [5, 6]])


def test_what_is_no_list_of_words_or_no_file(tmp_path):
    with pytest.raises(InputError, match="words is a single string"):
        write_word2vec(tmp_path / "v.txt", "king", VECTORS)
    for name, message in (("none", "cannot be read"), (".", "cannot be read")):
        with pytest.raises(InputError, match=message):
            read_word2vec(tmp_path / name)
    (tmp_path / "v.txt").write_bytes(b"1 1\n\xff 1\n")
    with pytest.raises(InputError, match="byte 4 is not UTF-8"):
        read_word2vec(tmp_path / "v.txt")
