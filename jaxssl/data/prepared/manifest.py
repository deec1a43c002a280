"""What a folder of prepared rows holds, and the checks that it is all there and whole.

manifest.json                             written last; a folder without it does not load
tokenizer/                                what the ids mean
train-00000-of-00014.array_record         rows, one record each, `length` ids of `dtype`
train-00000-of-00014.documents.npz        names of the documents, and the documents of every row
valid-00000-of-00001.array_record, …
"""

import dataclasses
import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.json_files import write_json
from jaxssl.data.stores.store import Missing, Store, in_parallel, is_url
from jaxssl.errors import InputError

FORMAT = 1  # raised when an older reader would misread the rows
MANIFEST = "manifest.json"
UPLOADING = "uploading.json"  # beside a set that is not whole yet; only on object stores
TOKENIZER = "tokenizer"


@dataclass(frozen=True)
class Shard:
    """One file of rows, the file of its documents beside it, and what they count."""

    file: str
    documents_file: str
    rows: int
    pieces: int  # documents and windows of documents
    documents: int
    empty: int  # documents without a token, which have no piece
    tokens: int  # of text, without special ids
    characters: int
    bytes: int  # of the text as UTF-8
    sha256: str
    documents_sha256: str


@dataclass(frozen=True)
class Manifest:
    """All that a reader must know of a prepared set before it opens a shard."""

    length: int  # tokens of a row
    dtype: str  # of the ids on disk: uint16 or uint32
    vocab_size: int
    pad: int
    unknown: int
    begin: int
    end: int
    mask: int
    tokenizer: str  # fingerprint of the tokenizer in tokenizer/
    skipped: int  # documents that the sources left out as unreadable
    splits: dict[str, tuple[Shard, ...]]  # "train" and "valid"
    config: dict[str, Any]  # what `prepare` was asked for
    format: int = FORMAT

    def total(self, split: str, count: str) -> int:
        """The sum of one count ("rows", "tokens", "bytes", …) over the shards of a split."""
        return sum(getattr(shard, count) for shard in self.splits[split])

    def utilisation(self, split: str) -> float:
        """The share of the places of all rows that is not padding."""
        finished = self.total(split, "documents") - self.total(split, "empty")  # have an `end`
        used = self.total(split, "tokens") + self.total(split, "pieces") + finished
        return used / max(self.total(split, "rows") * self.length, 1)

    @property
    def record(self) -> np.dtype[Any]:
        """The type of a row on disk."""
        return np.dtype((self.dtype, (self.length,)))

    @property
    def fingerprint(self) -> str:
        """sha256 of everything that decides what a reader yields; where it came from does not."""
        return fingerprint_of(self)


def fingerprint_of(manifest: Any) -> str:
    """sha256 of a manifest less its `config`."""
    content = dataclasses.asdict(manifest)
    del content["config"]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(manifest: Any, folder: Path) -> None:
    """Writes manifest.json under another name and renames it, so that it is whole or not there."""
    write_json(folder / MANIFEST, dataclasses.asdict(manifest))


def read_manifest(folder: str | Path) -> Manifest:
    """The manifest of a prepared set of text.

    Raises InputError where there is no folder, a half-written one, one that holds something else,
    a manifest of another version or one that is not whole.
    """
    content = read_content(folder)
    if "height" in content:
        raise InputError(f"{folder} holds images; read it with data=Images(…), not Rows(…)")
    return from_content(content, folder, Manifest, Shard)


def read_content(folder: str | Path) -> dict[str, Any]:
    """What manifest.json says, of any kind of set. Raises InputError as `read_manifest` does."""
    path, content = _content(folder)
    if not isinstance(content, dict) or "format" not in content or "splits" not in content:
        raise InputError(f"{path} is no manifest of prepared rows")
    if content["format"] != FORMAT:
        raise InputError(
            f"{folder} has format {content['format']} and this version reads {FORMAT}; "
            "prepare the set anew, or use the version that wrote it"
        )
    return content


def from_content(content: dict[str, Any], folder: str | Path, manifest: Any, shard: Any) -> Any:
    """The manifest (its class, and that of its shards) that manifest.json describes."""
    try:
        splits = {
            name: tuple(shard(**part) for part in parts)
            for name, parts in content["splits"].items()
        }
        return manifest(**{**content, "splits": splits})
    except (TypeError, AttributeError) as error:
        raise InputError(
            f"{folder}/{MANIFEST} is not whole ({error}); prepare the set anew"
        ) from error


def is_prepared(folder: str | Path) -> bool:
    """Whether there is a manifest, here or on an object store."""
    return Store(folder).exists(MANIFEST) if is_url(folder) else (Path(folder) / MANIFEST).is_file()


def _content(folder: str | Path) -> tuple[str | Path, Any]:
    """Where the manifest is, and what it holds."""
    if is_url(folder):
        store = Store(folder)
        try:
            return f"{store.url}/{MANIFEST}", store.read_json(MANIFEST)
        except Missing as error:
            raise InputError(_why_missing_there(store)) from error
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(_why_missing(folder))
    try:
        return path, json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); prepare the set anew") from error


def _why_missing_there(store: Store) -> str:
    if store.exists(UPLOADING):
        return (
            f"{store.url} is half-written ({UPLOADING} is there); run the same `jaxssl prepare` "
            "again: it goes on where it stopped"
        )
    return (
        f"{store.url} holds no prepared rows ({MANIFEST} is missing); make them with: "
        f"jaxssl prepare SOURCE --into {store.url}"
    )


def _why_missing(folder: Path) -> str:
    if partial_of(folder).is_dir():
        return (
            f"{folder} is half-written ({partial_of(folder).name} is there); run the same "
            "`jaxssl prepare` again: it goes on where it stopped"
        )
    if folder.is_dir():
        return f"{folder} holds no prepared rows ({MANIFEST} is missing)"
    return f"{folder} does not exist; make it with: jaxssl prepare SOURCE --into {folder}"


def verify_shards(folder: str | Path, manifest: Any, split: str) -> None:
    """Reads every shard of a split and compares its sha256, at about 1 GB/s and core.

    Raises InputError that names the first shard that is missing or has changed.
    """

    def broken(shard: Any) -> str | None:
        for name, expected in (
            (shard.file, shard.sha256),
            (shard.documents_file, shard.documents_sha256),
        ):
            path = Path(folder) / name
            if not path.is_file():
                return f"shard {path} is missing"
            if (found := file_sha256(path)) != expected:
                return f"shard {path} is corrupt: its sha256 is {found[:12]}…, not {expected[:12]}…"
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashlib releases the interpreter
        for problem in threads.map(broken, manifest.splits[split]):
            if problem:
                raise InputError(f"{problem}; restore it or prepare the set anew")


def file_sizes(folder: str | Path, manifest: Any, split: str) -> dict[str, int]:
    """Name -> bytes of the files of a split. Raises InputError for one that is missing."""
    names = [name for s in manifest.splits[split] for name in (s.file, s.documents_file)]
    if is_url(folder):
        there = Store(folder).sizes()
    else:
        paths = {name: Path(folder) / name for name in names}
        there = {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    if missing := [name for name in names if name not in there]:
        raise InputError(
            f"shard {folder}/{missing[0]} is missing; restore it or prepare the set anew"
        )
    return {name: there[name] for name in names}


def upload_set(folder: Path, store: Store, fingerprint: str) -> None:
    """Copies a prepared set; its manifest comes last. What an earlier copy of the same left is kept."""
    there = store.sizes()
    begun = store.read_json(UPLOADING)["fingerprint"] if UPLOADING in there else None
    store.write_json(UPLOADING, {"fingerprint": fingerprint})
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    kept = there if begun == fingerprint else {}
    missing = [name for name, size in sizes.items() if kept.get(name) != size]
    in_parallel(lambda name: store.upload(folder / name, name), missing)
    store.upload(folder / MANIFEST, MANIFEST)
    store.delete([UPLOADING, *(there.keys() - sizes.keys() - {MANIFEST, UPLOADING})])


def summary(manifest: Manifest, folder: str | Path) -> str:
    """What a person likes to know of a prepared set, in a few lines."""
    sizes: dict[str, int] = {}
    for split in manifest.splits:
        sizes |= file_sizes(folder, manifest, split)
    files = [shard.file for parts in manifest.splits.values() for shard in parts]
    megabytes = sum(sizes[file] for file in files) / 1e6
    lines = [
        f"{folder}: rows of {manifest.length} tokens, {megabytes:,.1f} MB in {len(files)} shards"
    ]
    for split in manifest.splits:
        tokens, size = manifest.total(split, "tokens"), manifest.total(split, "bytes")
        lines.append(
            f"  {split:<6}{manifest.total(split, 'documents'):>11,} documents"
            f"{manifest.total(split, 'rows'):>12,} rows, {manifest.utilisation(split):.1%} full"
            f"{tokens:>15,} tokens, {size / max(tokens, 1):.2f} bytes each"
        )
    lines.append(f"  tokenizer of {manifest.vocab_size:,} ids in {folder}/{TOKENIZER}")
    if manifest.skipped:
        lines.append(f"  {manifest.skipped:,} documents were left out as unreadable")
    return "\n".join(lines)


def read_documents(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of a shard's documents, and of every row r the documents[offsets[r]:offsets[r + 1]]."""
    with np.load(path) as stored:
        names = stored["names"].tobytes().decode("utf-8", "surrogatepass").split("\0")
        return names, stored["offsets"], stored["documents"]


def write_documents(
    path: Path, names: list[str], offsets: np.ndarray, documents: np.ndarray
) -> None:
    """Names and compressed sparse rows as an npz whose bytes depend on nothing else."""
    joined = "\0".join(names).encode("utf-8", "surrogatepass")
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            names=np.frombuffer(joined, np.uint8),
            offsets=offsets.astype(np.int64),
            documents=documents.astype(np.int32),
        )


def partial_of(folder: str | Path) -> Path:
    """Where a set is written before it is renamed to its place."""
    folder = Path(folder)
    return folder.with_name(folder.name + ".partial")
