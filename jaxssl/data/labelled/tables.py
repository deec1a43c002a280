"""Reads labelled examples as tables: one text or a pair of texts, and a label.

    train.tsv      a header row, then one example per line; nothing is quoted (as in GLUE)
    train.csv      the same with commas and quotes
    train.jsonl    one JSON object per line
    train.parquet  one example per row
    tfds:NAME      a data set of tensorflow-datasets
    stdlib         the docstrings of Python, labelled with their package

All files may be compressed (.gz, .bz2, .xz, .zst). `labels.py` says what a label may be.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxssl.data.labelled.records import read_records
from jaxssl.data.labels import label_name, missing_markers
from jaxssl.data.sources.compressed import STANDARD, ReadLimits
from jaxssl.data.sources.readers import Decoder, OnBadText
from jaxssl.data.sources.standard_library import labelled_docstrings
from jaxssl.data.tokenizers.given_texts import BYTE_ORDER_MARK
from jaxssl.errors import InputError, check_choice


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
    missing: tuple[str, ...] | None = None
    """Labels that mean that an example has none; such examples are left out and counted. None takes NA,
    nan and null, and also -1, -100, - and ? where there are two other labels."""
    numbers_as_written: bool = False
    """Whether labels that are numbers are names, such as the versions 3.10 and 3.0. Otherwise 1.0 is the
    class 1, and fractions are refused as measurements."""
    on_bad_text: OnBadText = "stop"
    """Treatment of an example whose text or label is not valid text: "stop" raises InputError, "skip"
    leaves the example out."""
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
    limits: ReadLimits = STANDARD
    """Upper limits of what is read from a file."""

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
        if self.label in (self.text, self.second):
            raise InputError(
                f"label={self.label!r} is also a column of texts; name another column as label"
            )
        if isinstance(self.missing, str):
            raise InputError(f"missing={self.missing!r} is one string; set it to a tuple of labels")
        check_choice(self, "on_bad_text", ("stop", "skip"))
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
    left_out: str = ""
    """Which examples of the file were left out and why, for a person; "" if there is none."""
    markers: frozenset[str] = frozenset()
    """Labels, in lower case, that were taken as missing."""

    def __len__(self) -> int:
        return len(self.first)

    def take(self, ids: Sequence[int] | np.ndarray, name: str) -> "Table":
        """Returns the examples at the positions `ids`, `[number]`, as a table called `name`."""
        second = None if self.second is None else [self.second[i] for i in ids]
        return Table(name, [self.first[i] for i in ids], second, [self.labels[i] for i in ids])


class LeftOut:
    """Counts the examples that are left out, by reason, with the position of the first one of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def add(self, reason: str, where: str) -> None:
        """Counts one example at `where`, left out for a `reason` such as "no label"."""
        self.counts[reason] += 1
        self.first.setdefault(reason, where)

    def sentence(self) -> str:
        """Returns the reasons for a person, such as "3 with the label -1 (first: train.tsv, line 2)"."""
        return ", ".join(
            f"{count:,} with {reason} (first: {self.first[reason]})"
            for reason, count in self.counts.items()
        )

    def why(self) -> str:
        """Returns the end of the error message for a file of which nothing is left."""
        if not self.counts:
            return ""
        return (
            f" with a label: {self.sentence()}; set label to the name of the column with labels, or missing "
            "to the labels that mean none"
        )


class Row(NamedTuple):
    """An example as it was read, perhaps without a label."""

    where: str
    """File and row."""
    first: str
    """The (first) text."""
    second: str
    """The second text; "" for single texts."""
    label: str | None
    """The label, or None where the example has none."""


def read_table(
    path: str, split: str, config: Labelled, markers: frozenset[str] | None = None
) -> Table:
    """Reads all examples of a file that have a label.

    Args:
      path: A file, "tfds:NAME", "tfds:NAME#SPLIT" or "stdlib".
      split: "train", "dev" or "test"; it selects the split of "tfds:NAME".
      config: Names of the columns, and what a label may be.
      markers: Labels, in lower case, that mean that an example has none; None decides by the labels of
        this file and `config.missing`.

    Returns:
      The examples in the order of the file.

    Raises:
      InputError: The file is missing, empty or broken, a column is missing, an example has no text, a
        label cannot be the name of a class, or no example has a label.
    """
    if path == "stdlib":
        texts, packages = zip(*labelled_docstrings(), strict=True)
        return Table("stdlib", list(texts), None, list(packages))
    left_out = LeftOut()
    rows = list(_read_rows(path, split, config, left_out))
    if markers is None:
        names = {row.label for row in rows if row.label is not None}
        markers = missing_markers(names, config.missing)
    first, second, labels = [], [], []
    for row in rows:
        if row.label is None or row.label.casefold() in markers:
            left_out.add("no label" if row.label is None else f"the label {row.label}", row.where)
            continue
        first.append(row.first)
        second.append(row.second)
        labels.append(row.label)
    if not first:
        raise InputError(f"{path} contains no example{left_out.why()}")
    seconds = second if config.second else None
    return Table(path, first, seconds, labels, left_out.sentence(), markers)


def _read_rows(path: str, split: str, config: Labelled, left_out: LeftOut) -> Iterator[Row]:
    """Reads all examples, and counts those whose text or label is not valid text."""
    text_columns = [config.text] + ([config.second] if config.second else [])
    decoder = Decoder(config.on_bad_text)
    for where, record in read_records(path, split, [*text_columns, config.label], config.limits):
        texts = [_text(record[name], where, name, decoder) for name in text_columns]
        label = record[config.label]
        if isinstance(label, str | bytes):
            label = decoder.value(label, where, config.label)
            texts.append(label)
        valid = [text for text in texts if text is not None]
        if len(valid) < len(texts):
            left_out.add("text that is not valid", where)
            continue
        name = label_name(label, where, config.label, as_written=config.numbers_as_written)
        yield Row(where, valid[0], valid[1] if config.second else "", name)


def _text(value: Any, where: str, column: str, decoder: Decoder) -> str | None:
    """Returns the text of a value, or None for text that is not valid and is left out."""
    if value is None:
        raise InputError(f"{where}: column {column!r} contains None, which is not text")
    text = decoder.value(value, where, column)
    return None if text is None else text.removeprefix(BYTE_ORDER_MARK)
