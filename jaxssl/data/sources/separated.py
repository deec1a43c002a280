"""Reads tables of delimiter-separated values: .csv and .tsv files whose first row names the columns."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxssl.data.sources.compressed import STANDARD, ReadLimits, lines_of, open_bytes
from jaxssl.errors import InputError

SEPARATED = (".csv", ".tsv")
LONGEST_FIELD = 2**31 - 1  # characters; the largest limit that csv takes on every system
Record = dict[str, Any]


def read_separated(
    path: Path, columns: Sequence[str] = (), *, tabs: bool, limits: ReadLimits = STANDARD
) -> Iterator[tuple[str, Record]]:
    """Reads a file of delimiter-separated values whose first row has the names of the columns.

    Args:
      path: The file.
      columns: Names of columns that may occur only once in the header.
      tabs: True for tabs, without any quoting (as in GLUE); False for commas, with quoting.
      limits: Upper limits of what is read.

    Yields:
      Pairs of the position, "FILE, line NUMBER", and the record.

    Raises:
      InputError: The file is missing, empty or not UTF-8, a line or field is too long, or a row has too few
        or too many columns.
    """
    rows = (_tab_rows if tabs else _comma_rows)(path, limits)
    header = next(rows, (0, []))[1]
    if not any(header):
        raise InputError(f"{path} is empty")
    if twice := [name for name, count in Counter(header).items() if count > 1 and name in columns]:
        raise InputError(
            f"{path} has the column {twice[0]!r} {header.count(twice[0])} times; rename all but one"
        )
    for number, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}, line {number} has {len(row)} columns, but the header has {len(header)}: "
                f"{', '.join(header)}"
            )
        yield f"{path}, line {number}", dict(zip(header, row, strict=True))


def _tab_rows(path: Path, limits: ReadLimits) -> Iterator[tuple[int, list[str]]]:
    """Yields the line number and the columns of each line that is not blank."""
    for number, line in enumerate(_lines(path, limits), 1):
        if line.strip():
            yield number, line.rstrip("\r\n").split("\t")


def _comma_rows(path: Path, limits: ReadLimits) -> Iterator[tuple[int, list[str]]]:
    """Yields the number of the last line and the columns of each CSV record."""
    # By itself, csv refuses fields of more than 131,072 characters.
    csv.field_size_limit(min(limits.document_bytes, LONGEST_FIELD))
    reader = csv.reader(_lines(path, limits), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        where = f"{path}, line {reader.line_num}"
        if "field limit" in str(error):
            raise limits.too_long(
                f"a field of {where}, or from an open quotation mark on,"
            ) from error
        raise InputError(f"{where} is not valid CSV: {error}") from error


def _lines(path: Path, limits: ReadLimits) -> Iterator[str]:
    """Yields the decoded lines, without a byte order mark."""
    with open_bytes(path, limits) as handle:
        offset = 0
        for raw in lines_of(handle, path, limits):
            try:
                yield raw.decode("utf8").removeprefix("" if offset else "\ufeff")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{path}, byte {offset + error.start}: 0x{raw[error.start]:02x} is not UTF-8; "
                    "convert the file"
                ) from error
            offset += len(raw)
