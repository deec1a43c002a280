"""Folders that commands read: a small BERT with a tokenizer."""

from pathlib import Path

import numpy as np

from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.random_folder import random_tensors, write_folder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "cat", "runs", "sleeps", "two"]
WORDS += ["##s", "the", "."]


def small_bert(
    folder: Path, name: str = "BertForMaskedLM", *, tokenizer: bool = True, **fields: object
) -> Path:
    """A folder of the golden BERT; its table of 19 rows has 5 rows without a token."""
    entry = golden("bert")[name]
    tensors = random_tensors(entry["shapes"])
    write_folder(folder, entry["config"] | fields, tensors)
    if tokenizer:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def rows_of(texts: int, length: int) -> np.ndarray:
    """Rows of [CLS] words [SEP], int32 [texts, length]."""
    random = np.random.default_rng(0)
    rows = random.integers(5, len(WORDS), (texts, length)).astype(np.int32)
    rows[:, 0], rows[:, -1] = 2, 3
    return rows
