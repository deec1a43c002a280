"""Reads parquet files, by rows or by one column.

Errors name the file and the row.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxssl.data.sources.compressed import STANDARD, ReadLimits, open_bytes, read_all
from jaxssl.data.sources.readers import files_of, no_column
from jaxssl.errors import InputError

PARQUET = (".parquet",)
BATCH_BYTES = 2**30  # a batch has at most so many bytes, even if every row is a whole column chunk
BATCH_ROWS = 1024  # and at most so many rows


def read_parquet(
    path: str, columns: tuple[str, ...] | None = None, limits: ReadLimits = STANDARD
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads the rows of parquet files.

    Args:
      path: A file, a folder or a glob pattern.
      columns: Names of the columns to read; None means all.
      limits: Bounds what a file may decompress to.

    Yields:
      Pairs of a name `file#row`, with rows counted from 0, and a dictionary of the columns.

    Raises:
      InputError: A file is missing or broken, has no such column, decompresses to too much, or text in
        it is not UTF-8.
    """
    for name, file in files_of(path, PARQUET):
        number = 0
        for batch in _batches(file, columns, limits):
            try:
                records = batch.to_pylist()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{file}, at or after row {number}: {error}; convert the file"
                ) from error
            for record in records:
                yield f"{name}#{number}", record
                number += 1


def read_parquet_column(
    path: str, column: str, limits: ReadLimits = STANDARD
) -> Iterator[tuple[str, Any]]:
    """Reads one column of parquet files.

    Args:
      path: A file, a folder or a glob pattern.
      column: Name of the column.
      limits: Bounds the length of a value and what a file may decompress to.

    Yields:
      Pairs of a name `file#row`, with rows counted from 0, and the value. Text comes as bytes, so
      that the caller can handle what is not UTF-8.

    Raises:
      InputError: A file is missing or broken, has no such column, decompresses to too much, or has a
        value that is too long.
    """
    for name, file in files_of(path, PARQUET):
        number = 0
        for batch in _batches(file, (column,), limits):
            for value in _as_bytes(batch.column(0)).to_pylist():
                if isinstance(value, bytes) and len(value) > limits.document_bytes:
                    raise limits.too_long(f"{file}, row {number}")
                yield f"{name}#{number}", value
                number += 1


def _batches(file: Path, columns: tuple[str, ...] | None, limits: ReadLimits) -> Iterator[Any]:
    """Yields the record batches of a parquet file, which may be compressed as a whole.

    A value that occurs often is stored once in a
    parquet file, so a small file may stand for much text: what is yielded is counted.
    """
    import pyarrow
    import pyarrow.parquet

    with open_bytes(file, limits) as handle:
        data = file if file.suffix in PARQUET else io.BytesIO(read_all(handle, file, limits))
        left = limits.decompressed_bytes(file)
        try:
            table = pyarrow.parquet.ParquetFile(data)
            names = table.schema_arrow.names
            for column in columns or ():
                if column not in names:
                    raise InputError(no_column(column, names, str(file)))
                if (times := names.count(column)) > 1:
                    raise InputError(
                        f"{file} has the column {column!r} {times} times; rename all but one"
                    )
            largest = _largest_chunk(table.metadata, columns)
            if largest > left:
                raise limits.too_much(file)
            rows = max(1, min(BATCH_ROWS, BATCH_BYTES // max(largest, 1)))
            for batch in table.iter_batches(rows, columns=list(columns) if columns else None):
                left -= batch.nbytes
                if left < 0:
                    raise limits.too_much(file)
                yield batch
        except (pyarrow.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{file} is truncated or not a parquet file: {reason}") from error


def _largest_chunk(metadata: Any, columns: tuple[str, ...] | None) -> int:
    """Returns the size of the largest row group, of its wanted columns, decompressed, in bytes."""
    largest = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        size = 0
        for chunk in (group.column(i) for i in range(group.num_columns)):
            name = chunk.path_in_schema  # "column.list.element" for nested ones
            if columns is None or name in columns or name.split(".")[0] in columns:
                size += chunk.total_uncompressed_size
        largest = max(largest, size)
    return largest


def _as_bytes(values: Any) -> Any:
    """Converts an Arrow array of strings to one of bytes; other types are returned unchanged."""
    import pyarrow

    if pyarrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    is_text = pyarrow.types.is_string(values.type) or pyarrow.types.is_large_string(values.type)
    return values.cast(pyarrow.large_binary()) if is_text else values
