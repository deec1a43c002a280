"""Units of work: some consecutive documents of one split become one shard.

A shard is a pure function of its documents, the tokenizer and the length of rows, so it does not
matter which process writes it, in which order, or how often it was begun; and a unit that is
finished is found again by the hash of its documents. `write_unit` is all that a worker does.
"""

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from jaxssl.data.prepared.manifest import FORMAT, Shard, write_documents
from jaxssl.data.preparing.pack import pack
from jaxssl.data.sources.texts import Document
from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.json_files import write_json
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, is_full_disk

# One record a group: a random read touches one row only, and grain's own reader asks for it. Not
# compressed: the bytes of a shard do not depend on the version of a compressor.
WRITER_OPTIONS = "group_size:1,uncompressed"


class Unit(NamedTuple):
    """Consecutive documents, or images, of one split."""

    split: str
    number: int  # among the units of the split
    documents: list[Any]


@dataclass(frozen=True)
class Job:
    """What is the same for all units. A worker loads the tokenizer by itself."""

    folder: str  # where shards go
    tokenizer: str  # folder of the tokenizer
    fingerprint: str  # of the tokenizer
    length: int

    def write(self, unit: Unit) -> Shard:
        """What a worker does."""
        return write_unit(unit, self)


def characters_of(document: Document) -> int:
    return len(document.text)


def cut_units(
    documents: Iterable[tuple[str, Any]],
    limit: int,
    size_of: Callable[[Any], int] = characters_of,
) -> Iterator[Unit]:
    """Groups (split, document) pairs: a unit ends before its size, in characters, exceeds `limit`.

    Holds at most one unfinished unit a split. A longer document is a unit of its own.
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
    """sha256 of all that the shard depends on."""
    digest = hashlib.sha256(f"{FORMAT} {job.fingerprint} {job.length} {WRITER_OPTIONS}".encode())
    for name, text in unit.documents:
        for part in (name, text):
            content = part.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
    return digest.hexdigest()


def finished_unit(unit: Unit, job: Job) -> Shard | None:
    """The shard of a unit if an earlier run has written it and its bytes are still the same."""
    return finished_shard(_note(unit, job), Shard)


def finished_shard(path: Path, kind: Callable[..., Any]) -> Any:
    """The shard, of a kind, that the note at `path` tells of; None if it is not there and whole."""
    try:
        shard = kind(**json.loads(path.read_text(encoding="utf-8")))
        same = (
            file_sha256(path.with_name(shard.file)) == shard.sha256
            and file_sha256(path.with_name(shard.documents_file)) == shard.documents_sha256
        )
    except (OSError, ValueError, TypeError):
        return None
    return shard if same else None


def write_unit(unit: Unit, job: Job) -> Shard:
    """Encodes, packs and writes one unit; the note with its counts and hashes is written last."""
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
    """Writes the two files of a shard beside its note; their names and hashes, as a shard has them."""
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
    """Rows as records of an ArrayRecord file. Raises OSError (ENOSPC) for a full disk."""
    try:
        writer = ArrayRecordWriter(str(path), WRITER_OPTIONS)
        for row in np.ascontiguousarray(rows):
            writer.write(row.tobytes())
        writer.close()
    except RuntimeError as error:  # how the writer tells of the disk
        if is_full_disk(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def row_dtype(vocab_size: int) -> str:
    """The smallest type that holds every id."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def text_bytes(text: str) -> int:
    """Bytes of a text as UTF-8. Raises UnicodeEncodeError for half a character (a surrogate)."""
    return len(text) if text.isascii() else len(text.encode("utf-8"))


def _note(unit: Unit, job: Job) -> Path:
    key = unit_hash(unit, job)[:16]
    return Path(job.folder) / f"{unit.split}-{unit.number:05d}-{key}.json"


@lru_cache(maxsize=1)
def load_unchanged(folder: str, fingerprint: str) -> Tokenizer:
    """Kept between units. By its fingerprint: the same folder may be prepared anew in a process."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.fingerprint != fingerprint:
        raise InputError(f"the tokenizer in {folder} was changed meanwhile; remove the folder")
    return tokenizer


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
