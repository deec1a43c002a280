"""Trains a sentencepiece model reproducibly: the same texts give the same model on every machine.

References:
  Kudo & Richardson 2018, "SentencePiece: a simple and language independent subword tokenizer and
  detokenizer for neural text processing".
"""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import sentencepiece

from jaxssl.data.tokenizers.definition import MOST_IDS
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.errors import InputError, check_at_most

LONGEST_LINE = 2_000  # characters; longer lines are split at a space for training
THREADS = 4  # fixed, since the scores of unigram models depend on the number of threads
TOO_HIGH = re.compile(r"[Vv]ocabulary size .*?too high.*?<= ?(\d+)", re.DOTALL)
TOO_LOW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]  # ids 0 to 4; the line break is 5
LOWEST = 256 + len(SPECIAL) + 2  # bytes, special tokens, the line break, and one character


@dataclass(frozen=True)
class SentencePiece:
    """Configuration of a sentencepiece model that is trained on the corpus itself.

    Only documents that are not held out for evaluation are used for training.
    """

    vocab_size: int = 8192
    """Number of ids, including the 256 bytes and the special tokens."""
    kind: Literal["unigram", "bpe"] = "unigram"
    """Algorithm: "unigram" (Kudo 2018) or "bpe", byte-pair encoding (Sennrich et al. 2016)."""
    normalization: Literal["identity", "nfkc", "nfkc_cf"] = "identity"
    """Unicode normalisation of the text before it is encoded: none ("identity"), "nfkc", or
    "nfkc_cf", which also folds case (lower-cases)."""
    character_coverage: float = 0.9995
    """Fraction of the characters of the text that get pieces of their own, in (0, 1]; rarer
    characters are encoded as UTF-8 bytes."""
    max_characters: int = 20_000_000
    """Upper limit of the training text, in characters; the lines used are sampled evenly from the
    whole corpus."""

    def __post_init__(self) -> None:
        check_at_most(self, MOST_IDS, "vocab_size")
        if self.vocab_size < LOWEST:
            raise InputError(
                f"vocab_size {self.vocab_size} is below {LOWEST}, the sum of 256 bytes, "
                f"{len(SPECIAL)} special tokens, the line break and one character; raise it"
            )
        if not 0 < self.character_coverage <= 1:
            raise InputError(
                f"character_coverage {self.character_coverage} is not in (0, 1]; the usual value "
                "is 0.9995"
            )
        if self.max_characters < 1:
            raise InputError(f"max_characters {self.max_characters} is below 1; raise it")


def train_sentencepiece(texts: Iterable[str], config: SentencePiece) -> SentencePieceTokenizer:
    """Trains a sentencepiece model on a sample of the lines of the texts.

    The same texts give the same model on every machine.

    Args:
      texts: The documents; they are read once.
      config: The size and kind of the model, and how much text to use.

    Returns:
      The trained tokenizer.

    Raises:
      InputError: There is no text; or `config.vocab_size` is too large for this text, or too small
        for its characters. The message names the largest or smallest size that is possible.
    """
    lines = sample_lines(texts, config.max_characters)
    if not lines:
        raise InputError("there is no text to train a tokenizer on: all texts are empty")
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
    """Samples lines evenly from all texts, the same lines for the same texts.

    A line is kept if the hash of its number and text is below a limit. Whenever the kept lines
    exceed `max_characters`, the limit is lowered by an eighth and the lines above it are dropped.
    The texts are therefore read only once, and need not fit into memory.

    Args:
      texts: The documents. Their blank lines are skipped, and lines over 2,000 characters are split.
      max_characters: Upper limit of the total length of the returned lines. A single line is
        returned even if it is longer.

    Returns:
      The sampled lines, in their original order.
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
    """Returns the error to raise for an error message of the sentencepiece trainer."""
    size = f"vocab_size {config.vocab_size}"
    if highest := TOO_HIGH.search(message):
        return InputError(f"{size} is too high for this text; the highest possible is {highest[1]}")
    if lowest := TOO_LOW.search(message):
        return InputError(
            f"{size} is too low for this text, whose characters alone take {lowest[1]}; raise it, "
            f"or lower character_coverage ({config.character_coverage}), so that more of the rare "
            "characters are encoded as bytes"
        )
    return InputError(f"the tokenizer cannot be trained: {message.splitlines()[0]}")


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Yields all lines that are not blank, those over LONGEST_LINE characters in several parts."""
    for text in texts:
        for line in text.split("\n"):
            while len(line) > LONGEST_LINE:
                end = line.rfind(" ", 1, LONGEST_LINE)
                end = LONGEST_LINE if end < 0 else end
                yield line[:end]
                line = line[end:]
            if line.strip():
                yield line
