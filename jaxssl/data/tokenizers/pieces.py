"""What a piece of a vocabulary stands for: the text, whether it begins a word, how many bytes."""

import re
import unicodedata

SPACE = "\u2581"  # how sentencepiece shows a space
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# Chinese characters as BERT counts them: blocks of unified and compatibility ideographs
CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip


def begins_word(text: str) -> bool:
    """Words begin at white space and at Chinese characters, which are written without spaces."""
    return text[:1].isspace() or is_chinese(text[:1])


def is_chinese(character: str) -> bool:
    return bool(character) and any(low <= ord(character) <= high for low, high in CHINESE)


def is_mark(character: str) -> bool:
    """Punctuation and symbols."""
    return bool(character) and unicodedata.category(character)[0] in "PS"


def ends_sentence(text: str) -> bool:
    """A full stop, an exclamation or a question mark, perhaps with others and closing quotes."""
    marks = text.strip()
    return bool(marks) and not any(map(str.isalnum, marks)) and any(m in ".!?。！？" for m in marks)


def byte_alphabet() -> dict[str, int]:
    """The characters by which byte-level BPE shows bytes (Radford et al. 2019, `encoder.py`).

    Printable bytes of Latin-1 are themselves, the other 68 are the characters from 256 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    shown = {chr(byte): byte for byte in printable}
    return shown | {chr(256 + i): byte for i, byte in enumerate(others)}
