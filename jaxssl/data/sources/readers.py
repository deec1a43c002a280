"""Reads JSON lines and data sets of tensorflow-datasets, decodes text, and lists files.

Errors name the file and the byte, line or row.
"""

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxssl.data.sources.compressed import (
    STANDARD,
    ReadLimits,
    lines_of,
    open_bytes,
    plain_suffix,
)
from jaxssl.data.sources.folders import GLOB, Found, LeftOut, is_hidden, matching, walk
from jaxssl.errors import InputError, brief

OnBadText = Literal["stop", "skip"]  # what to do with a document that is not valid text
JSON = (".jsonl", ".json")


@dataclass
class Skipped:
    """Counts the documents that were left out because they are not valid text."""

    count: int = 0
    """Number of documents left out so far."""
    first: str = ""
    """File and position of the first of them; "" if there is none."""

    def add(self, where: str) -> None:
        """Counts one more document, found at `where` (its file and position)."""
        self.count += 1
        self.first = self.first or where


@dataclass(frozen=True)
class Decoder:
    """Decodes bytes and column values to text, and handles those that are not valid text."""

    on_bad_text: OnBadText = "stop"
    """Treatment of a document that is not valid text: "stop" raises InputError, "skip" leaves the
    document out."""
    report: Skipped | None = None
    """Counter of the documents left out; None for not counting."""

    def text(self, raw: bytes, file: Path, offset: int = 0) -> str | None:
        """Decodes UTF-8.

        Args:
          raw: The bytes of the document. At offset 0, a byte order mark is removed.
          file: The file they come from, for the error message.
          offset: Their position in the decompressed file, in bytes.

        Returns:
          The text, or None if it is not UTF-8 and `on_bad_text` is "skip".

        Raises:
          InputError: The bytes are not UTF-8, and `on_bad_text` is "stop".
        """
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            where = f"{file}, byte {offset + error.start}"
            self.refuse(where, f": 0x{raw[error.start]:02x} is not UTF-8; convert the file")
            return None
        # Some editors write a byte order mark
        return text.removeprefix("\ufeff") if offset == 0 else text

    def value(self, value: Any, where: str, column: str) -> str | None:
        """Returns the text of one value of a column.

        Args:
          value: A string, UTF-8 bytes or None.
          where: File and row, for the error message.
          column: Name of the column, for the error message.

        Returns:
          The text; None if the value is None, or not valid text and `on_bad_text` is "skip".

        Raises:
          InputError: The value is of another type; or it is not valid text, and `on_bad_text` is
            "stop".
        """
        if value is None:
            return None
        if isinstance(value, bytes):
            try:
                return value.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"0x{value[error.start]:02x}, byte {error.start} of {column!r},"
                self.refuse(where, f": {byte} is not UTF-8; convert it")
                return None
        if not isinstance(value, str):
            raise InputError(f"{where}: {column!r} contains {brief(value)}, which is not text")
        if not value.isascii():
            try:
                value.encode("utf-8")  # JSON can contain lone surrogates, which UTF-8 cannot
            except UnicodeEncodeError as error:
                position = f"{value[error.start]!r} at character {error.start} of {column!r}"
                self.refuse(
                    where, f" contains a lone surrogate (half a character), {position}; fix it"
                )
                return None
        return value

    def refuse(self, where: str, reason: str) -> None:
        """Refuses what is no text, or counts it as left out, as `on_bad_text` says.

        Args:
          where: File and position.
          reason: Why it is no text, and the way out; it follows `where` in the message.

        Raises:
          InputError: `on_bad_text` is "stop".
        """
        if self.on_bad_text == "stop":
            raise InputError(
                f"{where}{reason}, or set on_bad_text to 'skip' to leave such documents out"
            )
        if self.report is not None:
            self.report.add(where)


def files_of(path: str, suffixes: tuple[str, ...] = ()) -> list[tuple[str, Path]]:
    """Lists the files that a path stands for.

    Args:
      path: A file, a folder, which is searched with its sub-folders and through links, or a glob pattern,
        which takes the files below folders that match. Hidden and empty files are left out.
      suffixes: Suffixes, without that of a compression, to which the files of a folder are
        restricted; () means all files.

    Returns:
      Pairs of name and file, sorted. The name is relative to the folder (or to the part of the
      pattern before its first wildcard), so that it stays the same when the folder is moved.

    Raises:
      InputError: There is no such file.
    """
    files = [file for file in _listed(path, suffixes) if not isinstance(file, LeftOut)]
    if files:
        return files
    if path and Path(path).is_dir():
        raise InputError(f"{path} is a folder without {' or '.join(suffixes) or 'any'} file")
    if GLOB & set(path):
        raise InputError(f"no file matches {path}, or all that match are empty")
    raise InputError(f"{path or repr(path)} does not exist; give a file, a folder or a glob")


def files_left_out(path: str, suffixes: tuple[str, ...] = ()) -> list[LeftOut]:
    """Lists the files below `path` that `files_of` leaves out, sorted, with the reason.

    Args:
      path: A file, a folder or a glob pattern.
      suffixes: Suffixes to which the files of a folder are restricted; () means all files.
    """
    return [file for file in _listed(path, suffixes) if isinstance(file, LeftOut)]


def _listed(path: str, suffixes: tuple[str, ...]) -> list[Found | LeftOut]:
    if not path:  # stands for the working directory, which nobody means
        return []
    given = Path(path)
    if given.is_file():
        return [(given.name, given)]
    found = walk(given) if given.is_dir() else matching(path)
    wanted = suffixes if given.is_dir() else ()
    return sorted(
        (file if isinstance(file, LeftOut) else _judged(file, wanted) for file in found),
        key=lambda file: file[0],
    )


def _judged(found: Found, suffixes: tuple[str, ...]) -> Found | LeftOut:
    """Returns the file, or why it is left out."""
    name, file = found
    if is_hidden(name):
        return LeftOut(name, "hidden")
    if suffixes and plain_suffix(file) not in suffixes:
        return LeftOut(name, "of another type")
    if not file.is_file():
        return LeftOut(name, "no regular file" if file.exists() else "a link to nowhere")
    return found if file.stat().st_size else LeftOut(name, "empty")


def read_json_lines(
    path: str,
    on_bad_text: OnBadText = "stop",
    report: Skipped | None = None,
    limits: ReadLimits = STANDARD,
    once: Collection[str] = (),
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads .jsonl and .json files that contain one JSON object per line.

    Args:
      path: A file, a folder or a glob pattern.
      on_bad_text: Treatment of a line that is not UTF-8: "stop" raises InputError, "skip" leaves
        the line out.
      report: Counter of the lines left out, or None.
      limits: Bounds the length of a line and what a file may decompress to.
      once: Names of columns that an object may hold only once.

    Yields:
      Pairs of a name `file#line`, with lines counted from 1, and the object. Blank lines are
      skipped.

    Raises:
      InputError: A file is missing or broken, or a line is not a JSON object, or too long.
    """
    decoder = Decoder(on_bad_text, report)
    for name, file in files_of(path, JSON):
        with open_bytes(file, limits) as handle:
            offset = 0
            for number, raw in enumerate(lines_of(handle, file, limits), 1):
                line = decoder.text(raw, file, offset)
                offset += len(raw)
                if line is None or not line.strip():
                    continue
                yield f"{name}#{number}", _json_object(line, f"{file}:{number}", once)


def read_tensorflow_dataset(name: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads the examples of a data set of tensorflow-datasets (TFDS).

    Args:
      name: Name of the data set, or its prepared folder.
      split: Name of the split, such as "train".

    Yields:
      Pairs of a name `dataset/split#number` and a dictionary of the features.

    Raises:
      InputError: The data set or the split cannot be read.
    """
    builder, source = open_tensorflow_dataset(name, split)
    for number in range(len(source)):
        yield f"{builder.info.full_name}/{split}#{number}", source[number]


def open_tensorflow_dataset(
    name: str, split: str, undecoded: Collection[str] = ()
) -> tuple[Any, Any]:
    """Opens a data set of tensorflow-datasets (TFDS).

    TensorFlow is not imported, so the data set must have been prepared with
    `file_format="array_record"`.

    Args:
      name: The prepared folder, or a name, which is looked up in TFDS_DATA_DIR (by default
        ~/tensorflow_datasets). A data set that is not there is downloaded and prepared, where TFDS
        can do that without TensorFlow.
      split: Name of the split, such as "train".
      undecoded: Names of features that are not decoded, but left as bytes.

    Returns:
      The TFDS builder, and the examples: a sequence with random access.

    Raises:
      InputError: The data set or the split cannot be read, or the folder contains several sets.
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
    """Returns `record[column]`.

    Args:
      record: One row of a table.
      column: Name of the column.
      where: File and row, for the error message.

    Raises:
      InputError: There is no such column; the message names those that there are.
    """
    if column not in record:
        raise InputError(no_column(column, list(record), where))
    return record[column]


def no_column(column: str, names: list[str], where: str) -> str:
    """Returns the error message for a missing `column` at `where`; `names` are the existing ones."""
    return f"{where} has no column {column!r}; it has {', '.join(names) or 'none'}"


def _json_object(line: str, where: str, once: Collection[str] = ()) -> dict[str, Any]:
    """Parses one line, in which the columns `once` occur at most once."""

    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(pairs)
        names = [] if len(record) == len(pairs) else [name for name, _ in pairs if name in once]
        if twice := [name for name in once if names.count(name) > 1]:
            raise InputError(f"{where} has a column twice, {', '.join(twice)}; remove one")
        return record

    try:
        record = json.loads(line, object_pairs_hook=as_dict if once else None)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not a JSON object on one line: {error}") from error
    except RecursionError as error:
        raise InputError(f"{where} is nested too deeply") from error
    except InputError:
        raise
    except ValueError as error:  # Python parses integers of up to 4,300 digits
        raise InputError(f"{where} contains a number of too many digits ({error})") from error
    if not isinstance(record, dict):
        raise InputError(f"{where} is not a JSON object but {brief(record)}")
    return record


def _version_folder(folder: Path) -> Path | None:
    """Returns the folder if it is a prepared data set, else the newest version below it, or None."""
    levels = ("", "*/", "*/*/")  # a version, a data set, a data set with configurations
    found = [info.parent for level in levels for info in folder.glob(f"{level}dataset_info.json")]
    if len({version.parent for version in found}) > 1:
        names = ", ".join(sorted(str(version.relative_to(folder)) for version in found))
        raise InputError(f"{folder} contains several data sets; choose one of {names}")
    return max(found, key=lambda version: (_numbers(version.name), version), default=None)


def _numbers(version: str) -> tuple[int, ...]:
    """Returns the numbers of a version, so that 1.10.0 sorts after 1.9.0."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
