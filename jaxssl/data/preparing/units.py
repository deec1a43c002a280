"""Units of work: consecutive documents of one split, which become one shard.

A shard is a pure function of its documents, the tokenizer and the length of rows. It therefore does
not matter which process writes it, in which order, or how often it was started. A finished unit is
recognised by the hash of its documents. `write_unit` is all that a worker does.

A shard has three files: the rows (.array_record), the names of the documents (.documents.npz), and,
until the set is complete, a note with its counts and hashes (.json).
"""

import dataclasses
import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from jaxssl.data.prepared.documents import write_documents
from jaxssl.data.prepared.manifest import FORMAT, Shard
from jaxssl.data.preparing.pack import pack
from jaxssl.data.sources.texts import Document
from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, is_full_disk

# One record per group, so that a random read touches one row only; grain's own reader requires it.
# Not compressed, so that the bytes of a shard do not depend on the version of a compressor.
LONGEST_ROW = 2**20  # tokens
WRITER_OPTIONS = "group_size:1,uncompressed"


AnyShard = TypeVar("AnyShard", bound=Any)


class Unit(NamedTuple):
    """Consecutive documents, or images, of one split."""

    split: str
    """Name of the split, "train" or "valid"."""
    number: int
    """Number of the unit within its split, from 0."""
    documents: list[Any]
    """The documents; [] after the unit was written."""


@dataclass(frozen=True)
class Job:
    """What all units have in common. Each worker loads the tokenizer itself."""

    folder: str
    """Folder in which the shards are written."""
    tokenizer: str
    """Folder of the tokenizer."""
    fingerprint: str
    """Fingerprint of the tokenizer."""
    length: int
    """Length of a row in tokens."""

    def write(self, unit: Unit) -> Shard:
        """Writes the shard of `unit` and returns its description; this runs in a worker."""
        return write_unit(unit, self)


def characters_of(document: Document) -> int:
    """Returns the length of a `document` in characters."""
    return len(document.text)


def cut_units(
    documents: Iterable[tuple[str, Any]],
    limit: int,
    size_of: Callable[[Any], int] = characters_of,
) -> Iterator[Unit]:
    """Groups documents into units of limited size.

    At most one unfinished unit per split is in memory.

    Args:
      documents: Pairs of the split and the document.
      limit: Upper limit of the size of a unit. A document above it becomes a unit of its own.
      size_of: Function that returns the size of a document; by default its length in characters.

    Yields:
      The units; those of different splits may alternate.
    """
    waiting: dict[str, list[Document]] = {}
    sizes: dict[str, int] = {}
    numbers: dict[str, int] = {}
    for split, document in documents:
        held = waiting.setdefault(split, [])
        size = size_of(document)
        if held and sizes[split] + size > limit:
            yield Unit(split, numbers.get(split, 0), held)
            numbers[split] = numbers.get(split, 0) + 1
            held = waiting[split] = []
        sizes[split] = size + (sizes[split] if held else 0)
        held.append(document)
    for split, held in waiting.items():
        if held:
            yield Unit(split, numbers.get(split, 0), held)


def unit_hash(unit: Unit, job: Job) -> str:
    """Returns the SHA-256 of all that the shard of `unit` depends on: documents and `job`."""
    digest = hashlib.sha256(f"{FORMAT} {job.fingerprint} {job.length} {WRITER_OPTIONS}".encode())
    for name, text in unit.documents:
        for part in (name, text):
            content = part.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
    return digest.hexdigest()


def finished_unit(unit: Unit, job: Job) -> Shard | None:
    """Returns the shard of `unit` if an earlier run with the same `job` wrote it completely, else None."""
    return finished_shard(_note(unit, job), Shard)


def finished_shard(path: Path, kind: type[AnyShard]) -> AnyShard | None:
    """Returns the shard that a note describes, if its files are there and unchanged.

    Args:
      path: The note (.json), beside the files of the shard.
      kind: Class of the shard's description.

    Returns:
      The description; None if the note or a file is missing or damaged.
    """
    try:
        shard = read_json(path, kind)
        same = (
            file_sha256(path.with_name(shard.file)) == shard.sha256
            and file_sha256(path.with_name(shard.documents_file)) == shard.documents_sha256
        )
    except (OSError, InputError):
        return None
    return shard if same else None


def write_unit(unit: Unit, job: Job) -> Shard:
    """Encodes, packs and writes one unit.

    The note with the counts and hashes is written last, so that only complete shards have one.

    Args:
      unit: The documents.
      job: Tokenizer, length of rows, and folder.

    Returns:
      The description of the shard.

    Raises:
      InputError: The tokenizer has changed since the job began.
    """
    tokenizer = load_unchanged(job.tokenizer, job.fingerprint)
    texts = [document.text for document in unit.documents]
    encoded = tokenizer.encode(texts)
    full = [(d.name, ids) for d, ids in zip(unit.documents, encoded, strict=True) if len(ids)]
    packed = pack(
        [ids for _, ids in full],
        length=job.length,
        begin=tokenizer.begin,
        end=tokenizer.end,
        pad=tokenizer.pad,
    )
    note = _note(unit, job)
    stored = packed.rows.astype(row_dtype(tokenizer.vocab_size))
    names = [name for name, _ in full]
    shard = Shard(
        **write_files(note, stored, names, packed.offsets, packed.documents),
        rows=len(packed.rows),
        pieces=len(packed.documents),
        documents=len(unit.documents),
        empty=len(encoded) - len(full),
        tokens=sum(len(ids) for ids in encoded),
        characters=sum(len(text) for text in texts),
        bytes=sum(text_bytes(text) for text in texts),
    )
    write_json(note, dataclasses.asdict(shard))
    return shard


def write_files(
    note: Path, rows: np.ndarray, names: list[str], offsets: np.ndarray, documents: np.ndarray
) -> dict[str, str]:
    """Writes the two files of a shard: the rows and the names of the documents.

    Args:
      note: Path of the shard's note; the files have the same name with other suffixes.
      rows: The records, one per row, `[rows, ...]`.
      names: Names of the documents.
      offsets: Boundaries of the rows in `documents`, `[rows + 1]`.
      documents: Number of the document of each piece, `[pieces]`.

    Returns:
      The names and SHA-256 hashes of the files, by the names of the fields of a shard.
    """
    written: dict[str, str] = {}
    for kind, suffix in (("", ".array_record"), ("documents_", ".documents.npz")):
        path = note.with_suffix(suffix)
        new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        if kind:
            write_documents(new, names, offsets, documents)
        else:
            write_rows(new, rows)
        _to_disk(new)
        written |= {f"{kind}file": path.name, f"{kind}sha256": file_sha256(new)}
        new.replace(path)
    return written


def write_rows(path: Path, rows: np.ndarray) -> None:
    """Writes each row as a record of an ArrayRecord file.

    Args:
      path: The file.
      rows: The records, `[rows, ...]`.

    Raises:
      OSError: The disk is full (ENOSPC).
    """
    try:
        writer = ArrayRecordWriter(str(path), WRITER_OPTIONS)
        for row in np.ascontiguousarray(rows):
            writer.write(row.tobytes())
        writer.close()
    except RuntimeError as error:  # the writer reports a full disk so
        if is_full_disk(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def row_dtype(vocab_size: int) -> str:
    """Returns the smallest unsigned type that can represent ids below `vocab_size`."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def text_bytes(text: str) -> int:
    """Returns the length of `text` as UTF-8, in bytes.

    Raises:
      UnicodeEncodeError: The text contains a lone surrogate (half a character).
    """
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _note(unit: Unit, job: Job) -> Path:
    """Returns the path of a unit's note; it contains the hash of all that the shard depends on."""
    key = unit_hash(unit, job)[:16]
    return Path(job.folder) / f"{unit.split}-{unit.number:05d}-{key}.json"


@lru_cache(maxsize=1)
def load_unchanged(folder: str, fingerprint: str) -> Tokenizer:
    """Loads a tokenizer and keeps it for the next units.

    The fingerprint is part of the cache's key, because a process may prepare the same folder twice.

    Args:
      folder: Folder of the tokenizer.
      fingerprint: Expected fingerprint.

    Raises:
      InputError: The tokenizer has another fingerprint.
    """
    tokenizer = load_tokenizer(folder, trusted=True)  # this job's first process has tried it
    if tokenizer.fingerprint != fingerprint:
        raise InputError(
            f"the tokenizer in {folder} was changed during preparation; remove the folder and "
            "prepare again"
        )
    return tokenizer


def _to_disk(path: Path) -> None:
    """Waits until the file is on the disk, so that a note never describes a file that is lost."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
