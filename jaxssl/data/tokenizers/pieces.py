"""Properties of the text behind a vocabulary entry: word starts, punctuation, sentence ends, bytes.

A piece is one entry of a tokenizer's vocabulary, as the tokenizer's file spells it.
"""

import re
import unicodedata

SPACE = "\u2581"  # the character that sentencepiece writes for a space
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a single byte, as sentencepiece's byte fallback spells it
# The Unicode blocks that BERT treats as Chinese: unified and compatibility ideographs
CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def begins_word(text: str) -> bool:
    """Returns whether `text` begins with white space or a Chinese character, and so begins a word.

    Chinese is written without spaces, so each of its characters counts as a word of its own.
    """
    return text[:1].isspace() or is_chinese(text[:1])


def is_chinese(character: str) -> bool:
    """Returns whether `character` is a Chinese ideograph; an empty string is not."""
    if character < "\u3400":  # quick for nearly all
        return False
    return any(low <= ord(character) <= high for low, high in CHINESE)


def is_mark(character: str) -> bool:
    """Returns whether `character` is Unicode punctuation or a symbol; an empty string is not."""
    return bool(character) and unicodedata.category(character)[0] in "PS"


def ends_sentence(text: str) -> bool:
    """Returns whether `text` is punctuation that ends a sentence.

    That is a text without letters and digits that contains a full stop, an exclamation mark or a
    question mark (ASCII or full-width), possibly beside other marks such as closing quotes.
    """
    if text[-1:].isalpha():  # quick for nearly all
        return False
    marks = text.strip()
    return bool(marks) and not any(map(str.isalnum, marks)) and any(m in ".!?。！？" for m in marks)


def byte_alphabet() -> dict[str, int]:
    """Returns the byte value of each character that byte-level BPE writes in place of a byte.

    The 188 printable bytes of Latin-1 are written as themselves, and the other 68, in ascending
    order, as the characters U+0100 to U+0143.

    References:
      Radford et al. 2019, "Language models are unsupervised multitask learners"; the alphabet is
      that of the released code, `encoder.py`.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shown = {chr(byte): byte for byte in printable}
    return shown | {chr(256 + i): byte for i, byte in enumerate(others)}
