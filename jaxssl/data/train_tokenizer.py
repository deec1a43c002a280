"""Trains a sentencepiece model, with the same result on every machine."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import sentencepiece

from jaxssl.data.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.errors import InputError

LONGEST_LINE = 2_000  # characters; longer lines are cut at a space for training
THREADS = 4  # fixed: unigram scores depend on their number
TOO_HIGH = re.compile(r"[Vv]ocabulary size .*?too high.*?<= ?(\d+)", re.DOTALL)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # ids 0 to 4; the end of a line is 5


@dataclass(frozen=True)
class SentencePiece:
    """A sentencepiece model to be trained on the documents that are not held out."""

    vocab_size: int = 8192
    kind: Literal["unigram", "bpe"] = "unigram"
    normalization: Literal["identity", "nfkc", "nfkc_cf"] = "identity"  # nfkc_cf also lower-cases
    character_coverage: float = 0.9995  # what is rarer is written as bytes
    max_characters: int = 20_000_000  # of text to train on, spread evenly over all of it

    def __post_init__(self) -> None:
        if self.vocab_size < 300:
            raise InputError(
                f"vocab_size {self.vocab_size} is below 300: 256 bytes and the special tokens"
            )


def train_sentencepiece(texts: Iterable[str], config: SentencePiece) -> SentencePieceTokenizer:
    """Trains on lines of the texts. Raises InputError where the text is too little for the size."""
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
        if highest := TOO_HIGH.search(str(error)):
            raise InputError(
                f"vocab_size {config.vocab_size} is too high for this text; the highest possible "
                f"is {highest[1]}"
            ) from error
        raise InputError(f"the tokenizer cannot be trained: {error}") from error
    return SentencePieceTokenizer(model.getvalue())


def sample_lines(texts: Iterable[str], max_characters: int) -> list[str]:
    """At most so many characters of lines, spread over all texts, the same for the same texts.

    A line is kept if the hash of its text and number lies below a limit; the limit is halved, and
    what lies above it dropped, whenever too much has been kept.
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
            limit //= 2
            kept = [pair for pair in kept if pair[0] < limit]
            size = sum(len(line) for _, line in kept)
    return [line for _, line in kept]


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
