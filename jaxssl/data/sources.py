"""Where documents come from. A source is a frozen dataclass; `documents()` reads it anew each time.

The name of a document is unique and stable: it decides on which side of the split it falls.
"""

import glob
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from jaxssl.data.compressed import open_bytes, plain_suffix
from jaxssl.data.standard_library import docstrings, topics
from jaxssl.errors import InputError

OnBadText = Literal["stop", "skip"]


class Document(NamedTuple):
    name: str
    text: str


@dataclass
class Skipped:
    """Documents that were left out because their bytes are no UTF-8."""

    count: int = 0
    first: str = ""

    def add(self, where: str) -> None:
        self.count += 1
        self.first = self.first or where


class Source(Protocol):
    def documents(self, report: Skipped | None = None) -> Iterator[Document]: ...


@dataclass(frozen=True)
class TextFiles:
    """A text file, a folder of them (with its folders, sorted) or a glob; UTF-8, also compressed."""

    path: str
    documents_are: Literal["file", "blank_line"] = "file"  # one a file, or parted by blank lines
    on_bad_text: OnBadText = "stop"

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        files = _files(self.path)
        root = Path(self.path) if Path(self.path).is_dir() else None
        found = False
        for file in files:
            name = str(file.relative_to(root)) if root else file.name
            for document in self._read(file, name, report):
                found = True
                yield document
        if not found:
            raise InputError(f"{self.path} holds no text")

    def _read(self, file: Path, name: str, report: Skipped | None) -> Iterator[Document]:
        with open_bytes(file) as handle:
            if self.documents_are == "file":
                text = _decode(handle.read(), file, 0, self.on_bad_text, report)
                if text is not None and text.strip():
                    yield Document(name, text.replace("\r\n", "\n"))
                return
            for number, (offset, raw) in enumerate(_blocks(handle)):
                text = _decode(raw, file, offset, self.on_bad_text, report)
                if text is not None:
                    yield Document(f"{name}#{number}", text.replace("\r\n", "\n"))


@dataclass(frozen=True)
class JsonLines:
    """One JSON object a line, its text in a named column."""

    path: str
    column: str = "text"
    on_bad_text: OnBadText = "stop"

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        for name, record in read_json_lines(self.path, self.on_bad_text, report):
            text = _column(record, self.column, name)
            if str(text).strip():
                yield Document(name, str(text))


@dataclass(frozen=True)
class Parquet:
    """Parquet files, their text in a named column."""

    path: str
    column: str = "text"

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        for name, record in read_parquet(self.path, (self.column,)):
            if record[self.column] is not None and str(record[self.column]).strip():
                yield Document(name, str(record[self.column]))


@dataclass(frozen=True)
class TensorflowDataset:
    """A data set of tensorflow-datasets, by its name or prepared folder; read without TensorFlow."""

    name: str
    split: str = "train"
    column: str = "text"

    def documents(self, report: Skipped | None = None) -> Iterator[Document]:
        for name, record in read_tensorflow_dataset(self.name, self.split):
            yield Document(name, as_text(_column(record, self.column, name)))


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
    split: str = "train",
) -> Source:
    """The source for a path, by its suffix; "stdlib" and "tfds:NAME" name what is no file."""
    if path == "stdlib":
        return StandardLibrary()
    if path.startswith("tfds:"):
        return TensorflowDataset(path.removeprefix("tfds:"), split, column or "text")
    match plain_suffix(Path(path)):
        case ".jsonl" | ".json":
            return JsonLines(path, column or "text", on_bad_text)
        case ".parquet":
            return Parquet(path, column or "text")
    if column is not None:
        raise InputError(f"{path} is plain text and has no column {column!r}; leave it out")
    return TextFiles(path, documents, on_bad_text)


def read_json_lines(
    path: str, on_bad_text: OnBadText = "stop", report: Skipped | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of .jsonl files, each with a name `file#line`."""
    for file in _files(path):
        with open_bytes(file) as handle:
            offset = 0
            for number, raw in enumerate(handle, 1):
                line = _decode(raw, file, offset, on_bad_text, report)
                offset += len(raw)
                if line is None or not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except json.JSONDecodeError as error:
                    raise InputError(f"{file}:{number} is no JSON: {error}") from error
                if not isinstance(record, dict):
                    raise InputError(f"{file}:{number} is no JSON object but {line[:40]!r}")
                yield f"{file.name}#{number}", record


def read_parquet(
    path: str, columns: tuple[str, ...] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of parquet files, each with a name `file#row`; all columns if None are named."""
    import pyarrow
    import pyarrow.parquet

    for file in _files(path):
        with open_bytes(file) as handle:
            data = file if file.suffix == ".parquet" else io.BytesIO(handle.read())
            try:
                table = pyarrow.parquet.ParquetFile(data)
            except pyarrow.ArrowInvalid as error:
                raise InputError(f"{file} is no parquet file: {error}") from error
            names = table.schema_arrow.names
            for column in columns or ():
                if column not in names:
                    raise InputError(_no_column(column, names, str(file)))
            number = 0
            for batch in table.iter_batches(columns=list(columns) if columns else None):
                for record in batch.to_pylist():
                    yield f"{file.name}#{number}", record
                    number += 1


def read_tensorflow_dataset(name: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The examples of a data set prepared as ArrayRecord, by folder or name, without TensorFlow."""
    import tensorflow_datasets as tfds

    try:
        if Path(name).is_dir():
            source = tfds.builder_from_directory(_version_folder(Path(name))).as_data_source(split)
        else:
            source = tfds.data_source(name, split=split)
    except Exception as error:  # TFDS raises many kinds: not found, no such split, wrong format
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"TFDS data set {name!r}, split {split!r}, cannot be read: {reason}; prepare it with "
            "file_format='array_record' and give its folder"
        ) from error
    label = Path(name).name if Path(name).is_dir() else name
    for number in range(len(source)):
        yield f"{label}/{split}#{number}", source[number]


def as_text(value: Any) -> str:
    """A feature of TFDS as text: bytes are UTF-8."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _version_folder(folder: Path) -> Path:
    """The folder itself if it is prepared, or its newest version below."""
    if (folder / "dataset_info.json").exists():
        return folder
    found = sorted(info.parent for info in folder.glob("**/dataset_info.json"))
    return found[-1] if found else folder


def _files(path: str) -> list[Path]:
    place = Path(path)
    if place.is_file():
        return [place]
    if place.is_dir():
        files = sorted(p for p in place.rglob("*") if p.is_file() and not p.name.startswith("."))
    else:
        files = sorted(Path(p) for p in glob.glob(path, recursive=True) if Path(p).is_file())
    if not files:
        what = "is an empty folder" if place.is_dir() else "does not exist"
        raise InputError(f"{path} {what}; give a file, a folder or a glob")
    return files


def _blocks(handle: Any) -> Iterator[tuple[int, bytes]]:
    """Runs of lines parted by blank ones, with the offset where each begins."""
    offset = start = 0
    lines: list[bytes] = []
    for line in handle:
        if line.strip():
            if not lines:
                start = offset
            lines.append(line)
        elif lines:
            yield start, b"".join(lines).rstrip(b"\r\n")
            lines = []
        offset += len(line)
    if lines:
        yield start, b"".join(lines).rstrip(b"\r\n")


def _decode(
    raw: bytes, file: Path, offset: int, on_bad_text: OnBadText, report: Skipped | None
) -> str | None:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"{file}, byte {offset + error.start}"
        if on_bad_text == "skip":
            if report is not None:
                report.add(where)
            return None
        raise InputError(
            f"{where}: 0x{raw[error.start]:02x} is no UTF-8; convert the file, or leave such "
            "documents out with --on-bad-text skip"
        ) from error


def _column(record: dict[str, Any], column: str, where: str) -> Any:
    if column not in record:
        raise InputError(_no_column(column, list(record), where))
    return record[column]


def _no_column(column: str, names: list[str], where: str) -> str:
    return f"{where} has no column {column!r}; it has {', '.join(names)}"
