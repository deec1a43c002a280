"""Reads labelled examples for finetuning: one text or a pair of texts, and a label.

    train.tsv      a header row, then one example per line; nothing is quoted (as in GLUE)
    train.csv      the same with commas and quotes
    train.jsonl    one JSON object per line
    train.parquet  one example per row
    tfds:NAME      a data set of tensorflow-datasets
    stdlib         the docstrings of Python, labelled with their package

All files may be compressed (.gz, .xz, .zst). Labels are strings; numbers are converted. The id of a
label is its rank in the sorted labels of the training examples.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxssl.data.labelled.example_batches import (
    Encoded,
    bucket_lengths,
    choose_length,
    encode,
    truncate,
)
from jaxssl.data.labelled.records import read_records
from jaxssl.data.sources.standard_library import labelled_docstrings
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError

MOST_CLASSES = 1_000  # more different labels are refused: the column is likely a text or a number
SPLIT_SEED, DEV_SEED, SUBSET_SEED = 1, 2, 3  # keep the three random choices independent


@dataclass(frozen=True)
class Labelled:
    """Configuration of labelled texts: the files, their columns, and the lengths of rows."""

    train: str
    """Training examples: a file, "tfds:NAME", "tfds:NAME#SPLIT" or "stdlib"."""
    dev: float | str = 0.1
    """Examples on which the best checkpoint is chosen: a file like `train`, or a fraction of the
    training examples, which are then left out of training."""
    test: float | str = 0.0
    """Examples on which the final score is reported: a file like `train`, or a fraction of the
    training examples; 0 means none."""
    text: str = "text"
    """Name of the column with the text."""
    second: str | None = None
    """Name of the column with the second text of a pair; None if examples are single texts."""
    label: str = "label"
    """Name of the column with the label."""
    train_examples: int | None = None
    """Number of training examples to use; None means all."""
    subset: Literal["drawn", "first"] = "drawn"
    """How `train_examples` are chosen: at random, differently for each seed ("drawn"), or the first
    ones of the file ("first")."""
    dev_examples: int | None = None
    """Number of dev examples to use, drawn at random but the same for all seeds; None means all."""
    length: int | None = None
    """Length of the longest row in tokens; None chooses it by `cover`."""
    cover: float = 0.995
    """Fraction of the examples of each split that must fit into the longest row untruncated."""
    buckets: int = 4
    """Upper limit of the number of different lengths to which batches are padded."""

    def __post_init__(self) -> None:
        for name in ("dev", "test"):
            share = getattr(self, name)
            if not isinstance(share, str) and not 0 <= share < 1:
                raise InputError(f"{name}={share} must be a file, or a fraction of train in [0, 1)")
        if self.dev in (0, ""):
            raise InputError(
                f"dev={self.dev!r} leaves no examples to choose the best checkpoint on; set dev to "
                "0.1 or a file"
            )
        for name in ("train_examples", "dev_examples", "buckets"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise InputError(f"{name}={number} must be at least 1")
        if not 0 < self.cover <= 1:
            raise InputError(f"cover={self.cover} must be in (0, 1], e.g. 0.995")


@dataclass(frozen=True)
class Table:
    """Labelled examples as they were read."""

    name: str
    """Where they come from, for error messages."""
    first: list[str]
    """The (first) text of each example."""
    second: list[str] | None
    """The second text of each example; None for single texts."""
    labels: list[str]
    """The label of each example."""

    def __len__(self) -> int:
        return len(self.first)

    def take(self, ids: Sequence[int] | np.ndarray, name: str) -> "Table":
        """Returns the examples at the positions `ids`, `[number]`, as a table called `name`."""
        second = None if self.second is None else [self.second[i] for i in ids]
        return Table(name, [self.first[i] for i in ids], second, [self.labels[i] for i in ids])


def read_table(path: str, split: str, config: Labelled) -> Table:
    """Reads all examples of a file.

    Args:
      path: A file, "tfds:NAME", "tfds:NAME#SPLIT" or "stdlib".
      split: "train", "dev" or "test"; it selects the split of "tfds:NAME".
      config: Names of the columns.

    Returns:
      The examples in the order of the file.

    Raises:
      InputError: The file is missing, empty or broken, a column is missing, or an example has no
        text or no label.
    """
    if path == "stdlib":
        texts, packages = zip(*labelled_docstrings(), strict=True)
        return Table("stdlib", list(texts), None, list(packages))
    columns = [config.text, config.label] + ([config.second] if config.second else [])
    first, second, labels = [], [], []
    for where, record in read_records(path, split, columns):
        first.append(_text(record[config.text], where, config.text))
        labels.append(_label(record[config.label], where, config.label))
        if config.second:
            second.append(_text(record[config.second], where, config.second))
    if not first:
        raise InputError(f"{path} contains no example")
    return Table(path, first, second if config.second else None, labels)


def _text(value: Any, where: str, column: str) -> str:
    """Returns the text of a value; refuses other types."""
    if isinstance(value, bytes):
        value = value.decode("utf8")
    if not isinstance(value, str):
        raise InputError(f"{where}: column {column!r} contains {value!r}, which is not text")
    return value


def _label(value: Any, where: str, column: str) -> str:
    """Returns the label of a value as a string; refuses fractions and blank values."""
    if isinstance(value, bytes):
        value = value.decode("utf8")
    if isinstance(value, float) and not value.is_integer():
        raise InputError(
            f"{where}: label {value} of column {column!r} is a measurement, not a class; set label to "
            "the name of another column"
        )
    label = "" if value is None else str(int(value) if isinstance(value, float) else value).strip()
    if not label:
        raise InputError(f"{where}: column {column!r} is empty; every example needs a label")
    return label


def label_names(table: Table) -> tuple[str, ...]:
    """Returns the different labels in the order of their ids.

    Args:
      table: The training examples.

    Returns:
      The labels, sorted by value if all are whole numbers, otherwise alphabetically.

    Raises:
      InputError: All labels are the same, or more than 1,000 are different.
    """
    names = set(table.labels)
    if len(names) < 2:
        raise InputError(
            f"all examples of {table.name} are {table.labels[0]!r}; a classifier needs at least two "
            "different labels"
        )
    if len(names) > MOST_CLASSES:
        raise InputError(
            f"{table.name} has {len(names)} different labels in {len(table)} examples, more than "
            f"{MOST_CLASSES}; set label to the name of another column"
        )
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def label_ids(table: Table, names: tuple[str, ...]) -> np.ndarray:
    """Returns the class id of each example, int32 `[examples]`.

    Args:
      table: The examples.
      names: The labels in the order of their ids, as from `label_names`.

    Raises:
      InputError: A label is not among `names`.
    """
    ids = {name: i for i, name in enumerate(names)}
    unknown = [(label, i) for i, label in enumerate(table.labels) if label not in ids]
    if unknown:
        label, example = unknown[0]
        known = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        raise InputError(
            f"{table.name}: label {label!r} of example {example + 1} (and of {len(unknown) - 1} "
            f"more) does not occur in the training examples, whose labels are {known}"
        )
    return np.array([ids[label] for label in table.labels], np.int32)


def read_splits(config: Labelled) -> dict[str, Table]:
    """Reads all splits.

    Fractions (`config.dev`, `config.test`) are drawn at random from the training examples, always
    the same ones.

    Args:
      config: The files, their columns and the fractions.

    Returns:
      The tables by name: "train", "dev" and, if there is one, "test".

    Raises:
      InputError: A file cannot be read, or dev and test leave no training examples.
    """
    table = read_table(config.train, "train", config)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
    splits, taken = {}, 0
    for name, where in (("dev", config.dev), ("test", config.test)):
        if isinstance(where, str) and where:
            splits[name] = read_table(where, name, config)
        elif where:
            count = max(round(float(where) * len(table)), 1)
            ids = np.sort(order[taken : taken + count])
            splits[name] = table.take(ids, f"the {name} share of {table.name}")
            taken += count
    if taken >= len(table):
        raise InputError(
            f"{table.name} has {len(table)} examples, which dev={config.dev} and test={config.test} "
            "use up; lower them, or give files"
        )
    rest = np.sort(order[taken:])
    splits["train"] = table.take(rest, table.name) if taken else table
    return splits


@dataclass(frozen=True)
class LabelledData:
    """All splits of the labelled texts: read, encoded and truncated."""

    config: Labelled
    """The configuration that they were read with."""
    names: tuple[str, ...]
    """Labels of the classes in the order of their ids."""
    tables: dict[str, Table]
    """Texts and labels of each split, by the split's name."""
    encoded: dict[str, Encoded]
    """Token ids of each split, truncated to the longest of `lengths`."""
    truncated: dict[str, int]
    """Number of examples of each split that lost tokens by truncation."""
    lengths: tuple[int, ...]
    """Lengths in tokens to which batches are padded, in ascending order."""
    fingerprint: str
    """SHA-256, in hexadecimal, of all texts and labels."""

    def train_ids(self, seed: int) -> np.ndarray:
        """Returns the positions of the training examples used with `seed`, `[examples]`, ascending."""
        count, wanted = len(self.tables["train"]), self.config.train_examples
        if wanted is None:
            return np.arange(count)
        if self.config.subset == "first":
            return np.arange(wanted)
        random = np.random.default_rng([SUBSET_SEED, seed])
        return np.sort(random.choice(count, wanted, replace=False))


def open_labelled(config: Labelled, tokenizer: Tokenizer, max_length: int) -> LabelledData:
    """Reads, encodes and truncates all splits.

    Args:
      config: The files, their columns and the lengths.
      tokenizer: Tokenizer of the network.
      max_length: Length of the longest row that the network accepts, in tokens.

    Returns:
      The data of all splits.

    Raises:
      InputError: A file cannot be read, labels do not fit together, `config.length` exceeds
        `max_length`, or `config` asks for more examples than there are.
    """
    if config.length is not None and not 4 <= config.length <= max_length:
        raise InputError(
            f"length {config.length} must be from 4 to the checkpoint's max_length {max_length}; set "
            f"length to {max_length} or less"
        )
    tables = read_splits(config)
    names = label_names(tables["train"])
    for split, wanted in (("train", config.train_examples), ("dev", config.dev_examples)):
        if wanted is not None and wanted > len(tables[split]):
            raise InputError(
                f"{split}_examples={wanted} exceeds the {len(tables[split])} examples of "
                f"{tables[split].name}; leave {split}_examples out to use all"
            )
    if config.dev_examples is not None:
        random, count = np.random.default_rng(DEV_SEED), len(tables["dev"])
        chosen = np.sort(random.choice(count, config.dev_examples, replace=False))
        tables["dev"] = tables["dev"].take(chosen, tables["dev"].name)
    whole = {
        split: encode(tokenizer, table.first, table.second, label_ids(table, names))
        for split, table in tables.items()
    }
    length = config.length or choose_length(list(whole.values()), config.cover, max_length)
    pieces = {split: truncate(part, length) for split, part in whole.items()}
    sizes = pieces["train"][0].sizes
    return LabelledData(
        config=config,
        names=names,
        tables=tables,
        encoded={split: part for split, (part, _) in pieces.items()},
        truncated={split: count for split, (_, count) in pieces.items()},
        lengths=bucket_lengths(sizes, length, config.buckets),
        fingerprint=_fingerprint(tables),
    )


def class_shares(data: LabelledData, split: str) -> dict[str, float]:
    """Returns the fraction of the examples of a split that each class has.

    The largest is the accuracy of always predicting the most frequent class.

    Args:
      data: The labelled texts.
      split: Name of the split.

    Returns:
      The fraction of each class by its label, in the order of the ids.
    """
    counts, total = Counter(data.tables[split].labels), len(data.tables[split])
    return {name: counts[name] / total for name in data.names}


def _fingerprint(tables: dict[str, Table]) -> str:
    """Returns the SHA-256 over the texts and labels of all splits."""
    total = hashlib.sha256()
    for split in sorted(tables):
        table = tables[split]
        for part in (table.first, table.second or [], table.labels):
            total.update(f"{split} {len(part)}\0".encode())
            total.update("\0".join(part).encode("utf8", "surrogatepass"))
    return total.hexdigest()
