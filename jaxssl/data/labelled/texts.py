"""Labelled examples for finetuning: one text or a pair, and a label, from files with named columns.

    train.tsv   a header row and then one example a line; nothing is quoted (as in GLUE)
    train.csv   the same with commas and quotes
    .jsonl, .parquet, tfds:NAME, all files also .gz .xz .zst;   stdlib: the docstrings of Python

Labels are strings (numbers are written as such); their ids are their ranks in the training file.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from jaxssl.data.labelled.example_batches import Encoded, bucket_lengths, choose_length, cut, encode
from jaxssl.data.labelled.records import read_records
from jaxssl.data.sources.standard_library import labelled_docstrings
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError

MOST_CLASSES = 1_000
SPLIT_SEED, DEV_SEED, SUBSET_SEED = 1, 2, 3  # first words of the seeds of three choices


@dataclass(frozen=True)
class Labelled:
    """Where the examples are, and how long they get. `dev` and `test` may be a share of `train`."""

    train: str  # a file, tfds:NAME or stdlib
    dev: float | str = 0.1  # what the best checkpoint is chosen on
    test: float | str = 0.0  # what the score is reported on; 0: nothing
    text: str = "text"  # name of the column
    second: str | None = None  # column of the second text of a pair
    label: str = "label"
    train_examples: int | None = None  # so many of the training examples; None: all
    subset: Literal["drawn", "first"] = "drawn"  # drawn anew by every seed, or the first ones
    dev_examples: int | None = None  # so many of the dev examples, the same for all seeds
    length: int | None = None  # tokens of the longest row; None: by `cover`
    cover: float = 0.995  # share of the examples of each split that must fit whole
    buckets: int = 4  # lengths that batches are padded to

    def __post_init__(self) -> None:
        for name in ("dev", "test"):
            share = getattr(self, name)
            if not isinstance(share, str) and not 0 <= share < 1:
                raise InputError(f"{name}={share} must be a file, or a share of train in [0, 1)")
        if self.dev in (0, ""):
            raise InputError("dev=0 leaves nothing to choose the best checkpoint on; pass 0.1")
        for name in ("train_examples", "dev_examples", "buckets"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise InputError(f"{name}={number} must be at least 1")
        if not 0 < self.cover <= 1:
            raise InputError(f"cover={self.cover} must lie in (0, 1], e.g. 0.995")


@dataclass(frozen=True)
class Table:
    """Examples as they were read: texts, seconds (None for single texts) and labels."""

    name: str
    first: list[str]
    second: list[str] | None
    labels: list[str]

    def __len__(self) -> int:
        return len(self.first)

    def take(self, ids: Sequence[int] | np.ndarray, name: str) -> "Table":
        second = None if self.second is None else [self.second[i] for i in ids]
        return Table(name, [self.first[i] for i in ids], second, [self.labels[i] for i in ids])


def read_table(path: str, split: str, config: Labelled) -> Table:
    """All examples of a file.

    Raises InputError for a missing or empty file, a missing column, an example without a label.
    """
    if path == "stdlib":
        texts, packages = zip(*labelled_docstrings(), strict=True)
        return Table("stdlib", list(texts), None, list(packages))
    columns = [config.text, config.label] + ([config.second] if config.second else [])
    first, second, labels = [], [], []
    for place, record in read_records(path, split, columns):
        first.append(_text(record[config.text], place, config.text))
        labels.append(_label(record[config.label], place, config.label))
        if config.second:
            second.append(_text(record[config.second], place, config.second))
    if not first:
        raise InputError(f"{path} holds no example")
    return Table(path, first, second if config.second else None, labels)


def _text(value: Any, place: str, column: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf8")
    if not isinstance(value, str):
        raise InputError(f"{place}: column {column!r} holds {value!r}, which is no text")
    return value


def _label(value: Any, place: str, column: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf8")
    if isinstance(value, float) and not value.is_integer():
        raise InputError(
            f"{place}: label {value} of column {column!r} is a measure and no class; "
            "choose another column with --data.label"
        )
    label = "" if value is None else str(int(value) if isinstance(value, float) else value).strip()
    if not label:
        raise InputError(f"{place}: column {column!r} is empty; every example needs a label")
    return label


def label_names(table: Table) -> tuple[str, ...]:
    """The labels that occur, in the order of their ids: by value if all are numbers."""
    names = set(table.labels)
    if len(names) < 2:
        raise InputError(f"all examples of {table.name} are {table.labels[0]!r}; nothing to learn")
    if len(names) > MOST_CLASSES:
        raise InputError(
            f"{table.name} has {len(names)} different labels in {len(table)} examples, more than "
            f"{MOST_CLASSES}; choose another column with --data.label"
        )
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def label_ids(table: Table, names: tuple[str, ...]) -> np.ndarray:
    """Ids int32 [examples]. Raises InputError for a label that the training examples lack."""
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
    """train, dev and, where there is one, test. Shares are drawn from train, always the same."""
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
        raise InputError(f"{table.name} has {len(table)} examples: dev and test leave none over")
    rest = np.sort(order[taken:])
    splits["train"] = table.take(rest, table.name) if taken else table
    return splits


@dataclass(frozen=True)
class LabelledData:
    """The splits read, encoded and cut, and what they are padded to."""

    config: Labelled
    names: tuple[str, ...]  # of the classes, by id
    tables: dict[str, Table]
    encoded: dict[str, Encoded]
    truncated: dict[str, int]  # examples of every split that lost tokens
    lengths: tuple[int, ...]
    fingerprint: str  # sha256 of texts and labels

    def train_ids(self, seed: int) -> np.ndarray:
        """Which training examples the run of a seed uses, in the order of the file."""
        count, wanted = len(self.tables["train"]), self.config.train_examples
        if wanted is None:
            return np.arange(count)
        if self.config.subset == "first":
            return np.arange(wanted)
        random = np.random.default_rng([SUBSET_SEED, seed])
        return np.sort(random.choice(count, wanted, replace=False))


def open_labelled(config: Labelled, tokenizer: Tokenizer, max_length: int) -> LabelledData:
    """Reads and encodes all splits; `max_length` is the longest row that the model takes.

    Raises InputError for what `read_table` and `label_ids` do, a `length` that the model cannot
    take, and more examples wanted than there are.
    """
    if config.length is not None and not 4 <= config.length <= max_length:
        raise InputError(
            f"length {config.length} must be from 4 to max_length {max_length} of the checkpoint; "
            f"pass --data.length {max_length} or less"
        )
    tables = read_splits(config)
    names = label_names(tables["train"])
    for split, wanted in (("train", config.train_examples), ("dev", config.dev_examples)):
        if wanted is not None and wanted > len(tables[split]):
            raise InputError(
                f"{split}_examples={wanted} exceeds the {len(tables[split])} examples of "
                f"{tables[split].name}; leave it out to take all"
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
    pieces = {split: cut(part, length) for split, part in whole.items()}
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
    """How often every class occurs in a split: what a constant guess gets."""
    counts, total = Counter(data.tables[split].labels), len(data.tables[split])
    return {name: counts[name] / total for name in data.names}


def _fingerprint(tables: dict[str, Table]) -> str:
    total = hashlib.sha256()
    for split in sorted(tables):
        table = tables[split]
        for part in (table.first, table.second or [], table.labels):
            total.update(f"{split} {len(part)}\0".encode())
            total.update("\0".join(part).encode("utf8", "surrogatepass"))
    return total.hexdigest()
