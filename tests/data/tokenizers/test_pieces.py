"""What a piece of a vocabulary stands for."""

import pytest

from jaxssl.data.tokenizers.pieces import ends_sentence


@pytest.mark.parametrize("text", [".", " .", '."', "?!", "...", "。", "！”", "?)"])
def test_marks_that_end_a_sentence(text):
    assert ends_sentence(text)


@pytest.mark.parametrize("text", ["", " ", ",", "Mr.", "3.1", "a", "\\n", '"', "<0x2E>", "。人"])
def test_others_do_not(text):
    assert not ends_sentence(text)
