"""Reads a list of texts to embed or to search: one a line, or a column of a table."""

from dataclasses import dataclass
from pathlib import Path

from jaxssl.data.labelled.records import read_records
from jaxssl.data.sources.compressed import plain_suffix
from jaxssl.data.sources.readers import Decoder
from jaxssl.errors import InputError

TABLES = (".tsv", ".csv", ".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class TextList:
    """Texts, each with what identifies it."""

    texts: list[str]
    """The texts, in the order of the file."""
    ids: list[str]
    """What identifies each text: the value of a column, or its number, counted from 0."""


def read_texts(
    path: str | Path, column: str | None = None, id_column: str | None = None
) -> TextList:
    r"""Reads the texts of a file.

    Args:
      path: UTF-8 text with one text a line, which ends at "\n" or "\r\n" and at no other character; or a
        table, .tsv, .csv, .jsonl or .parquet, which may be compressed.
      column: Name of the column with the texts; None means "text". A text file has no columns.
      id_column: Name of the column that identifies each text; None numbers the rows from 0.

    Returns:
      The texts, as many as the file has lines or rows: an empty line, or a value that is missing, is an empty
      text.

    Raises:
      InputError: There is no such file, it cannot be read, it has no such column, or a value is no text.
    """
    path = Path(path)
    if plain_suffix(path) not in TABLES:
        if column or id_column:
            raise InputError(
                f"{path} is plain text and has no column {column or id_column!r}; leave --column and "
                f"--id-column out, or give a table ({', '.join(TABLES)})"
            )
        lines = read_lines(path)
        return TextList(lines, [str(number) for number in range(len(lines))])
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a file with texts")
    name, decoder = column or "text", Decoder()
    columns = [name] if id_column is None else [name, id_column]
    texts: list[str] = []
    ids: list[str] = []
    for where, record in read_records(str(path), "train", columns):
        texts.append(decoder.value(record[name], where, name) or "")
        ids.append(str(len(ids) if id_column is None else record[id_column]))
    if not texts:
        raise InputError(f"{path} contains no row")
    return TextList(texts, ids)


def read_lines(path: str | Path) -> list[str]:
    r"""Reads the lines of a text file, which end at "\n" or "\r\n" and at no other character.

    Args:
      path: UTF-8 text, with or without a byte order mark.

    Raises:
      InputError: There is no such file, or it is a folder, or not UTF-8.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give a text file with one text a line") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder; give a text file with one text a line") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, byte {error.start} is not UTF-8; convert the file") from error
    lines = text.split("\n")
    if not lines[-1]:  # behind the line break that ends the file
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
