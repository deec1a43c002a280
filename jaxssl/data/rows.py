"""Batches of prepared rows of text: `{"tokens": int32 [rows, length]}`.

    reader = Rows("prepared/novels", batch=256).open("train", seed=0)
    tokens = reader.batch(1_000)["tokens"]

What order, mixtures and hosts do to the batches is in `reader.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, final

import numpy as np

from jaxssl.data.prepared.manifest import TOKENIZER, Manifest, read_manifest
from jaxssl.data.prepared.shards import RowFiles
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.reader import (
    BatchReader,
    PreparedSets,
    check_alike,
    matching_tokenizer,
    open_split,
)
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError

SURVEYED_ROWS = 32_768  # rows of a split in which tokens are counted; that takes less than a second


@final
@dataclass(frozen=True)
class Rows(PreparedSets):
    """Prepared rows of text to read: one folder, local or on an object store, or a mixture of several."""

    prepare: Prepare | None = None
    """How the rows are prepared if the folder does not exist yet. None: a missing folder is an error."""

    def open(self, split: str = "train", **options: Any) -> "RowReader":
        """Opens the rows of a split.

        Args:
          split: "train" or "valid".
          **options: Keyword arguments of `open_rows`.
        """
        return open_rows(self, split, **options)

    def read_spec(self, run: str | Path) -> tuple["TextSpec", Tokenizer]:
        """Returns the description of the rows that a run was trained on, and their tokenizer.

        Args:
          run: Folder of the run.

        Returns:
          A description with length 1, and the tokenizer. No parameter's shape depends on the length,
          and some models refuse lengths above a limit; so the shortest length serves for all.
        """
        tokenizer = load_tokenizer(Path(run) / TOKENIZER)
        return TextSpec.of(tokenizer, batch=self.batch, length=1), tokenizer


@dataclass(frozen=True, eq=False)
class TextSpec:
    """What a model and an objective must know of batches of text."""

    batch: int
    """Rows of the global batch."""
    length: int
    """Tokens of a row."""
    vocab_size: int
    """Number of token ids."""
    pad: int
    """Id of the token that fills up the end of a row."""
    unknown: int
    """Id of the token for text without a token of its own."""
    begin: int
    """Id of the token before each document."""
    end: int
    """Id of the token after each document."""
    mask: int
    """Id of the token that replaces a hidden one."""
    starts_word: np.ndarray
    """Whether a token begins a word, bool `[vocab]`."""
    byte_length: np.ndarray
    """Bytes of text that a token stands for, int32 `[vocab]`."""
    special: np.ndarray
    """Whether a token is special, such as `pad` and `mask`; these are never predicted. bool `[vocab]`."""
    ends_sentence: np.ndarray
    """Whether a token is a full stop, an exclamation mark or a question mark, bool `[vocab]`."""
    count: Callable[[], np.ndarray]
    """Returns `frequency`. It may read many rows, so only `frequency` calls it."""

    @property
    def unit(self) -> str:
        """What the speed of a run is counted in."""
        return "tokens"

    @property
    def units(self) -> int:
        """Tokens of a global batch."""
        return self.batch * self.length

    @property
    def in_words(self) -> str:
        """The shape of a row as a phrase."""
        return f"{self.length} tokens, vocabulary {self.vocab_size:,}"

    @property
    def frequency(self) -> np.ndarray:
        """Relative frequency of each token in the text, float64 `[vocab]`; uniform if there is no text."""
        return self.count()

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        *,
        batch: int,
        length: int,
        count: Callable[[], np.ndarray] | None = None,
    ) -> "TextSpec":
        """Returns the description of rows that a tokenizer has encoded.

        Args:
          tokenizer: Tokenizer of the rows.
          batch: Rows of the global batch.
          length: Tokens of a row.
          count: Returns the relative frequencies, float64 `[vocab]`. None: uniform frequencies.
        """
        return cls(
            count=count or partial(even_frequency, tokenizer.special),
            batch=batch,
            length=length,
            vocab_size=tokenizer.vocab_size,
            pad=tokenizer.pad,
            unknown=tokenizer.unknown,
            begin=tokenizer.begin,
            end=tokenizer.end,
            mask=tokenizer.mask,
            starts_word=tokenizer.starts_word,
            byte_length=tokenizer.byte_length,
            special=tokenizer.special,
            ends_sentence=tokenizer.ends_sentence,
        )


def even_frequency(special: np.ndarray) -> np.ndarray:
    """Returns the same frequency for every token that is not special, and 0 for the special ones.

    Args:
      special: Whether a token is special, bool `[vocab]`.

    Returns:
      Frequencies that sum to 1, float64 `[vocab]`.
    """
    return ~special / max(np.count_nonzero(~special), 1)


def count_tokens(files: RowFiles, special: np.ndarray) -> np.ndarray:
    """Counts the tokens in up to 32,768 rows, which are spread evenly over all rows.

    Args:
      files: The rows.
      special: Whether a token is special, bool `[vocab]`. Special tokens are not counted.

    Returns:
      Relative frequencies, which sum to 1 if there is any text, float64 `[vocab]`.
    """
    surveyed = min(files.rows, SURVEYED_ROWS)
    ids = np.linspace(0, files.rows - 1, surveyed).astype(np.int64)
    counts = np.zeros(len(special))
    for part in np.array_split(ids, max(surveyed // 4096, 1)):
        counts += np.bincount(files.read(part).ravel(), minlength=len(special))
    counts[special] = 0
    return counts / max(counts.sum(), 1.0)


def check_tokens(tokens: np.ndarray, vocab_size: int, step: int) -> None:
    """Checks that a network with `vocab_size` token ids can read the rows of a batch.

    Args:
      tokens: Rows, int32 `[rows, length]`.
      vocab_size: Number of token ids.
      step: Number of the batch, for the message.

    Raises:
      InputError: An id is negative or not below `vocab_size`.
    """
    if tokens.size and (tokens.min() < 0 or tokens.max() >= vocab_size):
        wrong = int(tokens[(tokens < 0) | (tokens >= vocab_size)][0])
        raise InputError(
            f"batch {step} holds the token id {wrong}, and the tokenizer of the set has the ids 0 to "
            f"{vocab_size - 1}; prepare the set anew"
        )


@final
class RowReader(BatchReader[TextSpec, Tokenizer]):
    """Reads batches of rows of text; `open_rows` makes it."""

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Returns this host's rows of global batch number `step`: `{"tokens": int32 [rows, length]}`.

        Shuffled rows have no end. In order, `step` must be below `batches`, and the last batch is filled
        up with rows of `pad`.
        """
        rows = sum(len(part) for part in self._parts)
        tokens = np.full((rows, self.spec.length), self.spec.pad, np.int32)
        start = 0
        for part in self._parts:
            ids = self._ids(step, part.start, part.stop)
            tokens[start : start + len(ids)] = self._files.read(ids)
            start += len(part)
        check_tokens(tokens, self.spec.vocab_size, step)
        return {"tokens": tokens}

    def save_spec(self, run: str | Path) -> None:
        """Writes the tokenizer, which `Rows.read_spec` reads, into the folder `run`."""
        self.tokenizer.save(Path(run) / TOKENIZER)


def open_rows(
    config: Rows,
    split: str = "train",
    *,
    seed: int,
    parts: Sequence[range] | None = None,
    shuffle: bool = True,
    sampled: bool = False,
    verify: bool = True,
) -> RowReader:
    """Opens prepared rows, and prepares them first if they are missing and `config.prepare` says how.

    Args:
      config: The prepared sets.
      split: "train" or "valid".
      seed: Seed of the order.
      parts: Ranges of rows of the global batch that this host reads. None: all rows.
      shuffle: Endless shuffled epochs if true, else every row once in the order it was written.
      sampled: Every row once, in a fixed order whose first part is an even sample of all rows; it needs
        `shuffle=False`.
      verify: Whether every shard of the split is read once and its hash compared, at about 1 GB/s and
        core.

    Returns:
      A reader whose batches are `{"tokens": int32 [rows, length]}`.

    Raises:
      InputError: A set is missing, incomplete or damaged, its tokenizer is not the one it was prepared
        with, or the sets of a mixture have different lengths or tokenizers.
    """
    manifests = [_manifest(path, config.prepare) for path in config.paths]
    check_alike(config.paths, manifests, ("length", "tokenizer"))
    tokenizer = matching_tokenizer(config.paths[0], manifests[0].tokenizer)
    if (known := tokenizer.vocab_size) != manifests[0].vocab_size:
        raise InputError(
            f"{config.paths[0]} says vocab_size {manifests[0].vocab_size}, its tokenizer has {known} ids; "
            "restore its manifest or prepare the set anew"
        )
    order: dict[str, Any] = {"seed": seed, "shuffle": shuffle, "sampled": sampled}
    opened = open_split(config, manifests, split, **order, verify=verify)
    spec = TextSpec.of(
        tokenizer,
        batch=config.batch,
        length=manifests[0].length,
        count=cache(partial(count_tokens, opened.files, tokenizer.special)),
    )
    return RowReader(opened, spec, tokenizer, parts=parts)


def _manifest(path: str, config: Prepare | None) -> Manifest:
    return read_manifest(path) if config is None else prepare(config, path)
