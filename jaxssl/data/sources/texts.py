"""Where documents come from. A source is a frozen dataclass; `documents()` reads it anew each time.

The name of a document is unique in its source and stays when files are moved: it decides on which
side of the split the document falls. Blank documents are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, NamedTuple, Protocol

from jaxssl.data.sources.compressed import open_bytes, plain_suffix
from jaxssl.data.sources.readers import (
    JSON,
    PARQUET,
    Decoder,
    OnBadText,
    Skipped,
    files_of,
    read_json_lines,
    read_parquet_column,
    read_tensorflow_dataset,
    value_of,
)
from jaxssl.data.sources.standard_library import docstrings, topics
from jaxssl.errors import InputError


class Document(NamedTuple):
    name: str
    text: str


class Source(Protocol):
    """Gives documents; with `on_bad_text="skip"` it counts in `report` what it left out.

    Raises InputError for whatever is missing, empty, broken or no text.
    """

    def documents(self, report: Skipped | None = None) -> Iterator[Document]: ...


@dataclass(frozen=True)
class TextFiles:
    """A text file, a folder of them (with its folders, sorted) or a glob; UTF-8, also compressed.

    Line ends become "\\n"; those at the end of a document are left out.
    """

    path: str
    documents_are: Literal["file", "blank_line"] = "file"  # one a file, or parted by blank lines
    on_bad_text: OnBadText = "stop"

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        decoder, found = Decoder(self.on_bad_text, report), False
        for name, file in files_of(self.path):
            with open_bytes(file) as handle:
                for label, offset, raw in self._cut(handle, name):
                    text = decoder.text(raw, file, offset)
                    found = True
                    if text is not None and text.strip():
                        yield Document(label, text.replace("\r\n", "\n").rstrip("\n"))
        if not found:
            raise InputError(f"{self.path} holds no text")

    def _cut(self, handle: IO[bytes], name: str) -> Iterator[tuple[str, int, bytes]]:
        """(name, offset, bytes) of the documents of a file."""
        if self.documents_are == "file":
            if (content := handle.read()).strip():
                yield name, 0, content
            return
        for number, (offset, raw) in enumerate(_blocks(handle)):
            yield f"{name}#{number}", offset, raw


@dataclass(frozen=True)
class JsonLines:
    """One JSON object a line, its text in a named column."""

    path: str
    column: str = "text"
    on_bad_text: OnBadText = "stop"

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        decoder, found = Decoder(self.on_bad_text, report), False
        for name, record in read_json_lines(self.path, self.on_bad_text, report):
            found = True
            text = decoder.value(value_of(record, self.column, name), name, self.column)
            if text and text.strip():
                yield Document(name, text)
        if not found:
            raise InputError(f"{self.path} holds no JSON object")


@dataclass(frozen=True)
class Parquet:
    """Parquet files, their text in a named column."""

    path: str
    column: str = "text"
    on_bad_text: OnBadText = "stop"

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        decoder, found = Decoder(self.on_bad_text, report), False
        for name, value in read_parquet_column(self.path, self.column):
            found = True
            text = decoder.value(value, name, self.column)
            if text and text.strip():
                yield Document(name, text)
        if not found:
            raise InputError(f"{self.path} holds no row")


@dataclass(frozen=True)
class TensorflowDataset:
    """A data set of tensorflow-datasets, by its name or prepared folder; read without TensorFlow.

    Prepare it with `file_format="array_record"`: other formats need TensorFlow.
    """

    name: str
    split: str = "train"
    column: str = "text"
    on_bad_text: OnBadText = "stop"

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
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
    """The English that ships with Python: the language reference and the library's docstrings."""

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        for name, text in [*topics(), *docstrings()]:
            yield Document(name, text)


def source_from_path(
    path: str,
    *,
    column: str | None = None,
    documents: Literal["file", "blank_line"] = "file",
    on_bad_text: OnBadText = "stop",
) -> Source:
    """The source for a path, by the suffix of the file, or of the files in the folder.

    "stdlib" stands for the embedded text, "tfds:NAME" and "tfds:NAME#SPLIT" for data sets of TFDS,
    where NAME may be a prepared folder.
    """
    if path == "stdlib":
        return StandardLibrary()
    if path.startswith("tfds:"):
        name, _, split = path.removeprefix("tfds:").partition("#")
        return TensorflowDataset(name, split or "train", column or "text", on_bad_text)
    match _format(path):
        case "json":
            return JsonLines(path, column or "text", on_bad_text)
        case "parquet":
            return Parquet(path, column or "text", on_bad_text)
    if column is not None:
        raise InputError(f"{path} is plain text and has no column {column!r}; leave it out")
    return TextFiles(path, documents, on_bad_text)


def _format(path: str) -> str:
    """ "json", "parquet" or "text"; a folder or a glob must hold files of one format."""
    found: dict[str, Path] = {}
    for _, file in files_of(path):
        suffix = plain_suffix(file)
        name = "json" if suffix in JSON else "parquet" if suffix in PARQUET else "text"
        found.setdefault(name, file)
    if len(found) > 1 and Path(path).is_dir():  # beside tables there are notes: README, _SUCCESS
        found.pop("text", None)
    if len(found) > 1:
        files = " and ".join(str(file) for file in found.values())
        raise InputError(f"{path} holds several formats, {files}; choose with a glob")
    return next(iter(found))


def _blocks(handle: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Runs of lines parted by blank ones, with the offset where each begins."""
    offset = start = 0
    lines: list[bytes] = []
    for line in handle:
        if line.strip():
            if not lines:
                start = offset
            lines.append(line)
        elif lines:
            yield start, b"".join(lines)
            lines = []
        offset += len(line)
    if lines:
        yield start, b"".join(lines)
