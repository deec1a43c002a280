"""Reads files of the formats that text comes in. What is wrong with them is told with its place."""

import glob
import io
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxssl.data.sources.compressed import open_bytes, plain_suffix
from jaxssl.errors import InputError

OnBadText = Literal["stop", "skip"]
JSON = (".jsonl", ".json")
PARQUET = (".parquet",)
GLOB = frozenset("*?[")


@dataclass
class Skipped:
    """Counts documents that were left out because they are no text."""

    count: int = 0
    first: str = ""  # where the first one is

    def add(self, where: str) -> None:
        self.count += 1
        self.first = self.first or where


@dataclass(frozen=True)
class Decoder:
    """Bytes to text, or what is to be done if they are none: stop, or leave the document out."""

    on_bad_text: OnBadText = "stop"
    report: Skipped | None = None

    def text(self, raw: bytes, file: Path, offset: int = 0) -> str | None:
        """The text of bytes that stand at `offset` of the unpacked file; None: left out."""
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            where = f"{file}, byte {offset + error.start}"
            self._refuse(where, f": 0x{raw[error.start]:02x} is no UTF-8; convert the file")
            return None
        return text.removeprefix("\ufeff") if offset == 0 else text  # some editors put a mark there

    def value(self, value: Any, where: str, column: str) -> str | None:
        """The text of a column's value; None where there is none, or it is left out.

        Raises InputError for a number or a list, whatever is to be done with bad text.
        """
        if value is None:
            return None
        if isinstance(value, bytes):
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"0x{value[error.start]:02x}, byte {error.start} of {column!r},"
                self._refuse(where, f": {byte} is no UTF-8; convert it")
                return None
        if not isinstance(value, str):
            raise InputError(f"{where}: {column!r} holds {_brief(value)}, which is no text")
        if not value.isascii():
            try:
                value.encode("utf-8")  # JSON can hold halves of characters that no text can
            except UnicodeEncodeError as error:
                place = f"{value[error.start]!r} at character {error.start} of {column!r}"
                self._refuse(where, f" holds half a character, {place}; mend it")
                return None
        return value

    def _refuse(self, where: str, reason: str) -> None:
        if self.on_bad_text == "stop":
            raise InputError(
                f"{where}{reason}, or leave such documents out with --on-bad-text skip"
            )
        if self.report is not None:
            self.report.add(where)


def files_of(path: str, suffixes: tuple[str, ...] = ()) -> list[tuple[str, Path]]:
    """The (name, file) pairs that a file, a folder (with its folders) or a glob stands for, sorted.

    Names are relative to the folder, so they stay when it is moved. Of a folder only files with one
    of `suffixes` count, hidden and empty ones never.
    Raises InputError if there is none.
    """
    place = Path(path)
    if place.is_file():
        return [(place.name, place)]
    if place.is_dir():
        root, found = place, list(place.rglob("*"))
    else:
        root, found = _fixed_part(place), [Path(p) for p in glob.glob(path, recursive=True)]
    files = []
    for file in found:
        name = file.relative_to(root)
        hidden = any(part.startswith(".") for part in name.parts)
        wanted = not (place.is_dir() and suffixes) or plain_suffix(file) in suffixes
        if wanted and not hidden and file.is_file() and file.stat().st_size:
            files.append((name.as_posix(), file))
    if files:
        return sorted(files)
    if place.is_dir():
        raise InputError(f"{path} is a folder without {' or '.join(suffixes) or 'any'} file")
    if GLOB & set(path):
        raise InputError(f"no file matches {path}, or all that do are empty")
    raise InputError(f"{path} does not exist; give a file, a folder or a glob")


def read_json_lines(
    path: str, on_bad_text: OnBadText = "stop", report: Skipped | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of .jsonl files, each with a name `file#line`."""
    decoder = Decoder(on_bad_text, report)
    for name, file in files_of(path, JSON):
        with open_bytes(file) as handle:
            offset = 0
            for number, raw in enumerate(handle, 1):
                line = decoder.text(raw, file, offset)
                offset += len(raw)
                if line is None or not line.strip():
                    continue
                yield f"{name}#{number}", _json_object(line, f"{file}:{number}")


def read_parquet(
    path: str, columns: tuple[str, ...] | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of parquet files, each with a name `file#row`; all columns if None are named."""
    for name, file in files_of(path, PARQUET):
        number = 0
        for batch in _parquet_batches(file, columns):
            try:
                records = batch.to_pylist()
            except UnicodeDecodeError as error:
                raise InputError(f"{file}, below row {number}: {error}; convert it") from error
            for record in records:
                yield f"{name}#{number}", record
                number += 1


def read_parquet_column(path: str, column: str) -> Iterator[tuple[str, Any]]:
    """One column of parquet files, each value with a name `file#row`; text as bytes, unchecked."""
    for name, file in files_of(path, PARQUET):
        number = 0
        for batch in _parquet_batches(file, (column,)):
            for value in _as_bytes(batch.column(0)).to_pylist():
                yield f"{name}#{number}", value
                number += 1


def read_tensorflow_dataset(name: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The examples of a data set of TFDS, by folder or name, each with a name `set/split#number`."""
    builder, source = open_tensorflow_dataset(name, split)
    for number in range(len(source)):
        yield f"{builder.info.full_name}/{split}#{number}", source[number]


def open_tensorflow_dataset(
    name: str, split: str, undecoded: Collection[str] = ()
) -> tuple[Any, Any]:
    """Builder and examples of a data set of TFDS, by folder or name; some columns left as bytes.

    TensorFlow is not imported, so the set must be prepared with `file_format="array_record"`. A
    name is looked for in TFDS_DATA_DIR (default: ~/tensorflow_datasets); what is not there is
    fetched and prepared, where TFDS can do that without TensorFlow.
    """
    import tensorflow_datasets as tfds

    home = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    folder = _version_folder(Path(name)) or _version_folder(home / name.replace(":", "/"))
    try:
        if folder:
            builder = tfds.builder_from_directory(folder)
        else:
            builder = tfds.builder(name, file_format="array_record")
            builder.download_and_prepare()
        left = {column: tfds.decode.SkipDecoding() for column in undecoded}
        source = builder.as_data_source(split, decoders=left or None)
    except Exception as error:  # TFDS raises many kinds: not found, no such split, wrong format
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"TFDS data set {name!r}, split {split!r}, cannot be read: {reason} (prepare it with "
            "file_format='array_record', then give its folder)"
        ) from error
    return builder, source


def value_of(record: dict[str, Any], column: str, where: str) -> Any:
    """Raises InputError that names the columns there are."""
    if column not in record:
        raise InputError(no_column(column, list(record), where))
    return record[column]


def no_column(column: str, names: list[str], where: str) -> str:
    return f"{where} has no column {column!r}; it has {', '.join(names) or 'none'}"


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON object in one line: {error}") from error
    except RecursionError as error:
        raise InputError(f"{where} is nested too deeply") from error
    if not isinstance(record, dict):
        raise InputError(f"{where} is no JSON object but {_brief(record)}")
    return record


def _parquet_batches(file: Path, columns: tuple[str, ...] | None) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    with open_bytes(file) as handle:
        data = file if file.suffix in PARQUET else io.BytesIO(handle.read())
        try:
            table = pyarrow.parquet.ParquetFile(data)
            names = table.schema_arrow.names
            for column in columns or ():
                if column not in names:
                    raise InputError(no_column(column, names, str(file)))
            yield from table.iter_batches(1024, columns=list(columns) if columns else None)
        except (pyarrow.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{file} is cut short or no parquet file: {reason}") from error


def _as_bytes(values: Any) -> Any:
    import pyarrow

    if pyarrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    is_text = pyarrow.types.is_string(values.type) or pyarrow.types.is_large_string(values.type)
    return values.cast(pyarrow.large_binary()) if is_text else values


def _version_folder(folder: Path) -> Path | None:
    """The folder itself if it is a prepared data set, else its newest version below."""
    levels = ("", "*/", "*/*/")  # a version, a data set, one with configurations
    found = [info.parent for level in levels for info in folder.glob(f"{level}dataset_info.json")]
    if len({version.parent for version in found}) > 1:
        names = ", ".join(sorted(str(version.relative_to(folder)) for version in found))
        raise InputError(f"{folder} holds several data sets; choose one of {names}")
    return max(found, key=lambda version: (_numbers(version.name), version), default=None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _fixed_part(pattern: Path) -> Path:
    """The folders before the first wildcard of a glob."""
    parts = pattern.parts
    wild = next((i for i, part in enumerate(parts) if GLOB & set(part)), len(parts) - 1)
    return Path(*parts[:wild])


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
