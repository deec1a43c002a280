"""Reads tables as records (dictionaries of columns): TSV, CSV, JSON lines, parquet, TFDS.

All files may be compressed (.gz, .bz2, .xz, .zst).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxssl.data.sources.compressed import STANDARD, ReadLimits, plain_suffix
from jaxssl.data.sources.parquet import read_parquet
from jaxssl.data.sources.readers import read_json_lines, read_tensorflow_dataset
from jaxssl.data.sources.separated import Record, read_separated
from jaxssl.errors import InputError

TFDS_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def read_records(
    path: str, split: str, columns: Sequence[str], limits: ReadLimits = STANDARD
) -> Iterator[tuple[str, Record]]:
    """Reads the records of a table.

    Args:
      path: A .tsv, .csv, .jsonl or .parquet file; or "tfds:NAME" or "tfds:NAME#SPLIT" for a data
        set of tensorflow-datasets.
      split: "train", "dev" or "test". "tfds:NAME" selects the data set's split of that name, with
        "validation" for "dev"; for files it has no meaning.
      columns: Names of the columns that every record must have.
      limits: Upper limits of what is read from a file.

    Yields:
      Pairs of the position, such as "train.tsv, line 7", and the record.

    Raises:
      InputError: A file is missing, empty or broken, has an unknown suffix, or lacks a column.
    """
    if path.startswith("tfds:"):
        name, _, chosen = path.removeprefix("tfds:").partition("#")
        records = read_tensorflow_dataset(name, chosen or TFDS_SPLITS[split])
        return _with_columns(records, columns)
    match plain_suffix(Path(path)):
        case ".tsv":
            return _with_columns(
                read_separated(Path(path), columns, tabs=True, limits=limits), columns
            )
        case ".csv":
            return _with_columns(
                read_separated(Path(path), columns, tabs=False, limits=limits), columns
            )
        case ".jsonl" | ".json":
            return _with_columns(read_json_lines(path, once=columns, limits=limits), columns)
        case ".parquet":
            return read_parquet(path, tuple(columns), limits)
    raise InputError(
        f"{path} has no format that can be read as labelled examples; use .tsv, .csv, .jsonl or "
        ".parquet (also .gz, .bz2, .xz, .zst), tfds:NAME or stdlib"
    )


def _with_columns(
    records: Iterator[tuple[str, Record]], columns: Sequence[str]
) -> Iterator[tuple[str, Record]]:
    """Passes the records on, and refuses one that lacks a column."""
    for where, record in records:
        for column in columns:
            if column not in record:
                raise InputError(f"{where} has no column {column!r}; it has {', '.join(record)}")
        yield where, record
