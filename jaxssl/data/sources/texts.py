"""The sources of documents: text files, tables, JSON lines, parquet, TFDS, Python's own text.

A source is a frozen dataclass, and each call of `documents()` reads it from the start. The name of a
document is unique in its source and does not depend on where the folder is: whether the document
belongs to the training or the evaluation part is decided from it. Blank documents are left out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, NamedTuple, Protocol

from jaxssl.data.sources.archives import SUFFIXES, archive_kind
from jaxssl.data.sources.compressed import (
    STANDARD,
    ReadLimits,
    lines_of,
    open_bytes,
    plain_suffix,
    read_all,
)
from jaxssl.data.sources.folders import LeftOut
from jaxssl.data.sources.parquet import PARQUET, read_parquet_column
from jaxssl.data.sources.readers import (
    JSON,
    Decoder,
    OnBadText,
    Skipped,
    files_left_out,
    files_of,
    read_json_lines,
    read_tensorflow_dataset,
    value_of,
)
from jaxssl.data.sources.separated import SEPARATED, read_separated
from jaxssl.data.sources.standard_library import docstrings, topics
from jaxssl.errors import InputError

FORMATS = {"json": JSON, "parquet": PARQUET, "separated": SEPARATED}
DocumentsAre = Literal["file", "blank_line", "line"]


class Document(NamedTuple):
    """One document of a source."""

    name: str
    """Name that is unique in the source, such as `file#line`."""
    text: str
    """The document's text, never blank."""


class Source(Protocol):
    """The interface of a source of documents."""

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        """Yields all documents, each time from the start.

        Args:
          report: Counter of the documents that are left out because they are not valid text; only
            with `on_bad_text="skip"`. None for not counting.

        Raises:
          InputError: A file is missing, empty or broken; or a document is not valid text, and
            `on_bad_text` is "stop".
        """
        ...


@dataclass(frozen=True)
class TextFiles:
    """Plain text files, UTF-8, also compressed.

    Line breaks are converted to "\\n", and removed at the end of a document; "\\r" alone is a line
    break in files without any "\\n".
    """

    path: str
    """Text file, folder, which is read with its sub-folders in sorted order, or glob pattern."""
    documents_are: DocumentsAre = "file"
    """What a document is: a whole "file", a part of it between blank lines ("blank_line"), or a
    "line"."""
    on_bad_text: OnBadText = "stop"
    """Treatment of a document that is not valid text: "stop" raises InputError, "skip" leaves the
    document out."""
    limits: ReadLimits = STANDARD
    """Upper limits of what is read from a file."""

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        """Yields all documents; those that `on_bad_text` leaves out are counted in `report`."""
        decoder, found = Decoder(self.on_bad_text, report), False
        for name, file in files_of(self.path):
            if kind := archive_kind(file, self.limits):
                decoder.refuse(
                    str(file), f": it is an archive or container ({kind}), no text; unpack it"
                )
                continue
            with open_bytes(file, self.limits) as handle:
                for label, offset, raw in self._split(handle, name, file):
                    text = decoder.text(raw, file, offset)
                    found = True
                    if text is not None and text.strip():
                        yield Document(label, _with_line_breaks(text).rstrip("\n"))
        if not found:
            raise InputError(f"{self.path} contains no text")

    def left_out(self) -> list[LeftOut]:
        """Lists the files that are not read, with the reason."""
        return files_left_out(self.path)

    def _split(self, handle: IO[bytes], name: str, file: Path) -> Iterator[tuple[str, int, bytes]]:
        """Yields name, offset in bytes, and bytes of each document of a file."""
        if self.documents_are == "file":
            if (content := read_all(handle, file, self.limits)).strip():
                yield name, 0, content
            return
        lines = lines_of(handle, file, self.limits)
        is_line = self.documents_are == "line"
        parts = _offsets(lines) if is_line else _blocks(lines, file, self.limits)
        for number, (offset, raw) in enumerate(parts):
            yield f"{name}#{number}", offset, raw


@dataclass(frozen=True)
class RecordFiles:
    """Files of records, one document each; a subclass for each format reads the values of a column."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Suffixes of files of the format."""

    path: str
    """A file of the format, a folder, or a glob pattern."""
    column: str = "text"
    """Name of the column, or key of each record, that holds the text."""
    on_bad_text: OnBadText = "stop"
    """Treatment of a document that is not valid text: "stop" raises InputError, "skip" leaves the
    document out."""
    limits: ReadLimits = STANDARD
    """Upper limits of what is read from a file."""

    def values(self, report: Skipped | None) -> Iterator[tuple[str, Any]]:
        """Yields the name of each record and the value of its column; `report` is as in `documents`."""
        raise NotImplementedError

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        """Yields all documents; those that `on_bad_text` leaves out are counted in `report`."""
        decoder, found = Decoder(self.on_bad_text, report), False
        for name, value in self.values(report):
            found = True
            text = decoder.value(value, name, self.column)
            if text and text.strip():
                yield Document(name, text)
        if not found:
            raise InputError(f"{self.path} contains no record")

    def left_out(self) -> list[LeftOut]:
        """Lists the files that are not read, with the reason."""
        return files_left_out(self.path, self.suffixes)


class JsonLines(RecordFiles):
    """Files with one JSON object per line (.jsonl or .json, also compressed), one document each."""

    suffixes = JSON

    def values(self, report: Skipped | None) -> Iterator[tuple[str, Any]]:
        """Yields the name of each object and the value of its key; `report` is as in `documents`."""
        once = (self.column,)
        for name, record in read_json_lines(self.path, self.on_bad_text, report, self.limits, once):
            yield name, value_of(record, self.column, name)


class Parquet(RecordFiles):
    """Parquet files, one document per row."""

    suffixes = PARQUET

    def values(self, report: Skipped | None) -> Iterator[tuple[str, Any]]:
        """Yields the name of each row and the value of its column; `report` is not used."""
        return read_parquet_column(self.path, self.column, self.limits)


@dataclass(frozen=True)
class Separated:
    """Tables of delimiter-separated values (.csv, .tsv) with a header, one document per row."""

    path: str
    """A .csv or .tsv file, also compressed, a folder, or a glob pattern."""
    column: str = "text"
    """Name of the column with the text."""
    limits: ReadLimits = STANDARD
    """Upper limits of what is read from a file."""

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        """Yields all documents; none is left out as unreadable, so `report` is not used."""
        found = False
        for name, file in files_of(self.path, SEPARATED):
            tabs = plain_suffix(file) == ".tsv"
            records = read_separated(file, (self.column,), tabs=tabs, limits=self.limits)
            for number, (where, record) in enumerate(records):
                found = True
                text = value_of(record, self.column, where)
                if text.strip():
                    yield Document(f"{name}#{number}", text)
        if not found:
            raise InputError(f"{self.path} contains no row")

    def left_out(self) -> list[LeftOut]:
        """Lists the files that are not read, with the reason."""
        return files_left_out(self.path, SEPARATED)


@dataclass(frozen=True)
class TensorflowDataset:
    """A text data set of tensorflow-datasets (TFDS), read without TensorFlow.

    The data set must be prepared with `file_format="array_record"`; other formats need TensorFlow.
    """

    name: str
    """Name of the data set, or its prepared folder."""
    split: str = "train"
    """Split of the data set, such as "train" or "test"."""
    column: str = "text"
    """Name of the feature with the text."""
    on_bad_text: OnBadText = "stop"
    """Treatment of a document that is not valid text: "stop" raises InputError, "skip" leaves the
    document out."""

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        """Yields all documents; those that `on_bad_text` leaves out are counted in `report`."""
        decoder, found = Decoder(self.on_bad_text, report), False
        for name, record in read_tensorflow_dataset(self.name, self.split):
            found = True
            text = decoder.value(value_of(record, self.column, name), name, self.column)
            if text and text.strip():
                yield Document(name, text)
        if not found:
            raise InputError(f"TFDS data set {self.name!r}, split {self.split!r}, is empty")


@dataclass(frozen=True)
class StandardLibrary:
    """The English text that ships with Python: the language reference and the library's docstrings."""

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        """Yields all documents; none is ever left out, so `report` is not used."""
        for name, text in [*topics(), *docstrings()]:
            yield Document(name, text)


def source_from_path(
    path: str,
    *,
    column: str | None = None,
    documents: DocumentsAre = "file",
    on_bad_text: OnBadText = "stop",
    limits: ReadLimits = STANDARD,
) -> Source:
    """Returns the source of documents that a path stands for.

    Args:
      path: A file, a folder or a glob pattern; the suffixes of the files select the format. "stdlib"
        is the text that ships with Python. "tfds:NAME" and "tfds:NAME#SPLIT" are data sets of
        tensorflow-datasets, where NAME may be a prepared folder.
      column: Name of the column with the text; None means "text". Plain text has no columns.
      documents: What a document of a plain text file is: the whole "file", a part of it between blank
        lines ("blank_line"), or a "line".
      on_bad_text: Treatment of a document that is not valid text: "stop" raises InputError, "skip"
        leaves the document out.
      limits: Upper limits of what is read from a file.

    Returns:
      The source.

    Raises:
      InputError: There is no such file, the files are of several formats, or `column` is given for
        plain text.
    """
    if path == "stdlib":
        return StandardLibrary()
    if path.startswith("tfds:"):
        name, _, split = path.removeprefix("tfds:").partition("#")
        return TensorflowDataset(name, split or "train", column or "text", on_bad_text)
    match _format(path):
        case "separated":
            return Separated(path, column or "text", limits)
        case "json":
            return JsonLines(path, column or "text", on_bad_text, limits)
        case "parquet":
            return Parquet(path, column or "text", on_bad_text, limits)
    if column is not None:
        raise InputError(f"{path} is plain text and has no column {column!r}; leave column out")
    return TextFiles(path, documents, on_bad_text, limits)


def _format(path: str) -> str:
    """Returns "json", "parquet", "separated" or "text"; the files of a folder must have the same format."""
    found: dict[str, Path] = {}
    archive: Path | None = None
    for _, file in files_of(path):
        suffix = plain_suffix(file)
        archive = archive or (file if suffix.lower() in SUFFIXES else None)
        name = next((name for name, known in FORMATS.items() if suffix in known), "text")
        found.setdefault(name, file)
    if len(found) > 1 and archive:
        raise InputError(
            f"{path} contains tables, and {archive.name} is an archive ({plain_suffix(archive)}) that is not "
            "read; unpack it, or choose the tables with a glob pattern"
        )
    if len(found) > 1 and Path(path).is_dir():  # text beside tables is a README or _SUCCESS
        found.pop("text", None)
    if len(found) > 1:
        files = " and ".join(str(file) for file in found.values())
        raise InputError(f"{path} contains several formats, {files}; choose with a glob pattern")
    return next(iter(found))


def _with_line_breaks(text: str) -> str:
    """Returns `text` with "\\n" for every line break."""
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def _offsets(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yields the lines that are not blank, each with its offset in the file in bytes."""
    offset = 0
    for line in lines:
        if line.strip():
            yield offset, line
        offset += len(line)


def _blocks(lines: Iterable[bytes], file: Path, limits: ReadLimits) -> Iterator[tuple[int, bytes]]:
    """Yields the runs of lines between blank lines, each with its offset in the file in bytes."""
    offset = start = 0
    held: list[bytes] = []
    for line in lines:
        if line.strip():
            if not held:
                start = offset
            held.append(line)
            if offset + len(line) - start > limits.document_bytes:
                raise limits.too_long(f"{file}, the document at byte {start}")
        elif held:
            yield start, b"".join(held)
            held = []
        offset += len(line)
    if held:
        yield start, b"".join(held)
