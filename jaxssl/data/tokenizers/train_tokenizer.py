"""Trains a sentencepiece model, with the same result on every machine."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import sentencepiece

from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.errors import InputError

LONGEST_LINE = 2_000  # characters; longer lines are cut at a space for training
THREADS = 4  # fixed: unigram scores depend on their number
TOO_HIGH = re.compile(r"[Vv]ocabulary size .*?too high.*?<= ?(\d+)", re.DOTALL)
TOO_LOW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # ids 0 to 4; the end of a line is 5
LOWEST = 256 + len(SPECIAL) + 2  # bytes, special tokens, the end of a line, and one character


@dataclass(frozen=True)
class SentencePiece:
    """A sentencepiece model to be trained on the documents that are not held out."""

    vocab_size: int = 8192
    kind: Literal["unigram", "bpe"] = "unigram"
    normalization: Literal["identity", "nfkc", "nfkc_cf"] = "identity"  # nfkc_cf also lower-cases
    character_coverage: float = 0.9995  # what is rarer is written as bytes
    max_characters: int = 20_000_000  # of text to train on, spread evenly over all of it

    def __post_init__(self) -> None:
        if self.vocab_size < LOWEST:
            raise InputError(
                f"vocab_size {self.vocab_size} is below {LOWEST}: 256 bytes, the special tokens, "
                "the end of a line and a character"
            )
        if not 0 < self.character_coverage <= 1:
            raise InputError(f"character_coverage {self.character_coverage} is not in (0, 1]")
        if self.max_characters < 1:
            raise InputError(f"max_characters {self.max_characters} is below 1")


def train_sentencepiece(texts: Iterable[str], config: SentencePiece) -> SentencePieceTokenizer:
    """Trains on lines of the texts; the same model for the same texts, whatever the machine.

    Raises InputError where the text is too little for the size, or has more characters than it.
    """
    lines = sample_lines(texts, config.max_characters)
    if not lines:
        raise InputError("there is no text to train a tokenizer on")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=config.kind,
            vocab_size=config.vocab_size,
            character_coverage=config.character_coverage,
            normalization_rule_name=config.normalization,
            remove_extra_whitespaces=False,
            byte_fallback=True,
            num_threads=THREADS,
            max_sentence_length=16 * LONGEST_LINE,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            pad_piece=SPECIAL[0],
            unk_piece=SPECIAL[1],
            bos_piece=SPECIAL[2],
            eos_piece=SPECIAL[3],
            control_symbols=SPECIAL[4:],
            user_defined_symbols=["\n"],
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _refusal(str(error), config) from error
    return SentencePieceTokenizer(model.getvalue())


def sample_lines(texts: Iterable[str], max_characters: int) -> list[str]:
    """At most so many characters of lines, spread over all texts, the same for the same texts.

    A line is kept if the hash of its text and number lies below a limit; the limit is lowered, and
    what lies above it dropped, whenever too much has been kept. So the texts are read once, and
    neither held nor counted before.
    """
    limit, size = 1 << 64, 0
    kept: list[tuple[int, str]] = []
    for number, line in enumerate(_lines(texts)):
        data = f"{number}:{line}".encode()
        rank = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
        if rank >= limit:
            continue
        kept.append((rank, line))
        size += len(line)
        while size > max_characters and len(kept) > 1:
            limit -= limit // 8
            kept = [pair for pair in kept if pair[0] < limit]
            size = sum(len(line) for _, line in kept)
    return [line for _, line in kept]


def _refusal(message: str, config: SentencePiece) -> InputError:
    size = f"vocab_size {config.vocab_size}"
    if highest := TOO_HIGH.search(message):
        return InputError(f"{size} is too high for this text; the highest possible is {highest[1]}")
    if lowest := TOO_LOW.search(message):
        return InputError(
            f"{size} is too low for this text, whose characters alone take {lowest[1]}; raise it, "
            f"or lower character_coverage ({config.character_coverage}): what is rarer is bytes"
        )
    return InputError(f"the tokenizer cannot be trained: {message.splitlines()[0]}")


def _lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for line in text.split("\n"):
            while len(line) > LONGEST_LINE:
                cut = line.rfind(" ", 1, LONGEST_LINE)
                cut = LONGEST_LINE if cut < 0 else cut
                yield line[:cut]
                line = line[cut:]
            if line.strip():
                yield line
