"""How many tokens and words a row of prepared text holds, so that a step says how many words were seen.

Words are counted where they begin (`Tokenizer.starts_word`), on the first rows that the run reads, and the
mean of a row stands for all others. The rows are in random order, so that of 4,096 rows of 100 words the mean
is right to about 0.3 %. Which step has seen a number of words is then a function of the configuration alone:
it is the same on all hosts, and before and after a resume.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.data.prepared.manifest import MANIFEST
from jaxssl.data.rows import RowReader
from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.store import is_url
from jaxssl.errors import InputError

COUNTED_ROWS = 4096
UNITS = {"K": 10**3, "M": 10**6, "B": 10**9}


@dataclass(frozen=True)
class RowContent:
    """What a row of a run's data holds in the mean."""

    tokens: float
    """Tokens of text, without special ones; 0 for images."""
    words: float
    """Words; 0 for images."""
    manifests: dict[str, str] = field(default_factory=dict)
    """Folder of each local prepared set -> sha256 of its manifest.json."""


def row_content(config: Any) -> RowContent:
    """Counts the tokens and words of the first rows that a run reads.

    Args:
      config: Configuration of the run, a `Pretraining`; its data and seed are read.

    Raises:
      InputError: The data cannot be opened.
    """
    reader = config.data.open("train", seed=config.seed, verify=False)
    manifests = {
        path: file_sha256(Path(path) / MANIFEST) for path in config.data.paths if not is_url(path)
    }
    if not isinstance(reader, RowReader):
        return RowContent(0.0, 0.0, manifests)
    batches = -(-min(COUNTED_ROWS, reader.rows) // reader.spec.batch)
    is_text = ~reader.spec.special
    is_word = reader.spec.starts_word & is_text
    tokens = words = rows = 0
    for number in range(batches):
        batch = reader.batch(number)["tokens"]
        tokens += int(np.count_nonzero(is_text[batch]))
        words += int(np.count_nonzero(is_word[batch]))
        rows += len(batch)
    return RowContent(tokens / rows, words / rows, manifests)


def words_of(text: str) -> int:
    """Returns the number that a `text` such as "10M", "500K", "1.5B" or "3000" stands for.

    Raises:
      InputError: It is no such number, or below 1.
    """
    factor = UNITS.get(text[-1:].upper(), 1)
    digits = text[:-1] if factor > 1 else text
    try:
        words = float(digits) * factor
    except ValueError:
        words = 0.0
    if not 1 <= words < 10**15:
        raise InputError(
            f"export_at={text!r} is no number of words; write it as 10M, 500K, 1.5B or 3000"
        )
    return round(words)


def steps_at(wanted: Sequence[str], content: RowContent, batch: int) -> dict[int, list[str]]:
    """Finds the steps after which so many words have been seen.

    Args:
      wanted: Numbers of words, such as "10M".
      content: What a row holds.
      batch: Rows of a step.

    Returns:
      Step -> the numbers that are reached by it first.
    """
    found: dict[int, list[str]] = {}
    for text in wanted:
        step = -(-words_of(text) // max(content.words * batch, 1e-9))
        found.setdefault(int(step), []).append(text)
    return found
