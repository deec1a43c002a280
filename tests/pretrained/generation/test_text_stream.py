"""Text is certain character by character, within running text, and ends before a stop string."""

import pytest

from jaxssl.pretrained.generation.text_stream import TextStream

TEXT = "né 你好 x"
BYTES = list(TEXT.encode("utf-8"))


def of_bytes(ids):
    """A tokenizer of bytes that drops the space at the begin of a text, as sentencepiece does."""
    return bytes(ids).decode("utf-8", errors="replace").removeprefix(" ")


def test_pieces_have_whole_characters():
    stream = TextStream(of_bytes, [])
    pieces = [stream.push(id) for id in BYTES]
    assert pieces == ["n", "", "é", " ", "", "", "你", "", "", "好", " ", "x"]
    assert stream.finish() == ""


def test_the_first_piece_goes_on_from_the_prompt():
    prompt = list(b"ab")
    stream = TextStream(of_bytes, prompt)
    assert "".join(stream.push(id) for id in b" cd") == " cd"
    assert "".join(TextStream(of_bytes, []).push(id) for id in b" cd") != " cd"


def test_bytes_that_become_no_character_are_shown_in_the_end():
    stream = TextStream(of_bytes, [])
    assert [stream.push(id) for id in (*b"a", 0xE4, 0xBD)] == ["a", "", ""]
    assert stream.finish() == "\ufffd"
    assert stream.finish() == ""
    stream = TextStream(of_bytes, [])
    assert [stream.push(id) for id in (0xE4, *b"ab")] == ["", "\ufffda", "b"]


@pytest.mark.parametrize(
    ("stop", "pieces", "rest"),
    [
        (["cd"], ["a", "b", "", ""], ""),  # "c" is held back until it is known
        (["ce"], ["a", "b", "", "cd"], ""),
        (["bcde"], ["a", "", "", ""], "bcd"),  # what is held is shown when no more comes
        (["d", "bc"], ["a", "", "", ""], ""),
        (["", "x"][1:], ["a", "b", "c", "d"], ""),
    ],
)
def test_a_text_ends_before_a_stop_string(stop, pieces, rest):
    stream = TextStream(of_bytes, [], stop)
    assert [stream.push(id) for id in b"abcd"] == pieces
    assert stream.finish() == rest
    assert stream.stopped == (rest == "" and "".join(pieces) != "abcd")
