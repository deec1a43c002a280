"""The manifest of a prepared set, and the files that a folder of prepared rows of text consists of.

manifest.json                             written last; a folder without it cannot be opened
tokenizer/                                the tokenizer that the ids belong to
train-00000-of-00014.array_record         rows, one record each: `length` ids of type `dtype`
train-00000-of-00014.documents.npz        names of the documents, and the documents of every row
valid-00000-of-00001.array_record, …
"""

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, final

import numpy as np

from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.stores.json_types import Limits, Matches, checked
from jaxssl.data.stores.names import SHA256, PlainName
from jaxssl.data.stores.store import Missing, Store, is_url
from jaxssl.errors import InputError

FORMAT = 1  # version of the format; raised when an older reader would misread the rows
MANIFEST = "manifest.json"
UPLOADING = "uploading.json"  # on object stores only: marks a set whose upload is not finished
TOKENIZER = "tokenizer"

LONGEST_ROW = 1 << 24  # tokens
MOST_IDS = (1 << 31) - 1  # ids are int32 on the device

# Types of fields, as `json_types.checked` reads them.
Count = Annotated[int, Limits(0, 1 << 53)]
FileName = Annotated[str, PlainName()]
Hash = Annotated[str, SHA256]

AnyManifest = TypeVar("AnyManifest", bound="SetManifest")


class SetManifest(ABC):
    """What the manifests of rows of text and of images have in common. Both are dataclasses."""

    splits: dict[str, tuple[Any, ...]]
    """The shards of each split, "train" and "valid"."""
    config: dict[str, Any]
    """Description of the configuration that the set was prepared with."""

    @final
    def total(self, split: str, count: str) -> int:
        """Returns the sum of a field of the shards ("rows", "tokens", …) over all shards of `split`.

        The argument `count` is the name of the field.
        """
        return sum(getattr(shard, count) for shard in self.splits[split])

    @property
    @abstractmethod
    def record(self) -> np.dtype[Any]:
        """Type of one record of a shard."""

    @abstractmethod
    def problem_in(self, records: np.ndarray) -> str:
        """Describes what is in `records` and cannot be in this set, such as an id beyond its vocabulary.

        Args:
          records: Some records of a shard, of type `record`.

        Returns:
          The description; empty where there is no such thing.
        """

    @final
    @property
    def fingerprint(self) -> str:
        """sha256 of everything that decides what a reader yields, which is all fields but `config`."""
        content = self.as_dict()
        del content["config"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as they are stored in manifest.json."""


@final
@dataclass(frozen=True)
class Shard:
    """One file of rows of text, the file of its documents, and what they contain."""

    file: FileName
    """Name of the file of rows."""
    documents_file: FileName
    """Name of the file that lists the documents of the rows."""
    rows: Count
    """Number of rows."""
    pieces: Count
    """Number of pieces in the rows. A document that fits into one row is one piece, a longer one several."""
    documents: Count
    """Number of documents."""
    empty: Count
    """Number of documents without a token; they have no piece."""
    tokens: Count
    """Number of tokens of text, without special tokens."""
    characters: Count
    """Number of characters of the text."""
    bytes: Count
    """Number of bytes of the text in UTF-8."""
    sha256: Hash
    """Hash of the file of rows."""
    documents_sha256: Hash
    """Hash of the file of documents."""


@final
@dataclass(frozen=True)
class Manifest(SetManifest):
    """Everything a reader must know of a prepared set of text before it opens a shard."""

    length: Annotated[int, Limits(1, LONGEST_ROW)]
    """Tokens of a row, special ones and padding included."""
    dtype: Annotated[str, Matches("uint16|uint32", "uint16 or uint32")]
    """Type of the ids on disk: uint16 or uint32."""
    vocab_size: Annotated[int, Limits(1, MOST_IDS)]
    """Number of ids of the tokenizer."""
    pad: Count
    """Id of padding."""
    unknown: Count
    """Id of unknown text."""
    begin: Count
    """Id that precedes a document."""
    end: Count
    """Id that follows a document."""
    mask: Count
    """Id of the mask token, which does not occur in the rows."""
    tokenizer: Hash
    """Fingerprint of the tokenizer in the folder `tokenizer`."""
    skipped: Count
    """Number of documents that the sources left out as unreadable."""
    splits: dict[str, tuple[Shard, ...]]
    """The shards of each split, "train" and "valid"."""
    config: dict[str, Any]
    """Description of the configuration that the set was prepared with."""
    format: int = FORMAT
    """Version of the format."""

    def __post_init__(self) -> None:
        for name in ("pad", "unknown", "begin", "end", "mask"):
            if (id := getattr(self, name)) >= self.vocab_size:
                raise InputError(
                    f"{name} is {id}, and vocab_size allows 0 to {self.vocab_size - 1}"
                )
        if self.dtype == "uint16" and self.vocab_size > 1 << 16:
            raise InputError(f"vocab_size is {self.vocab_size}, too many for dtype uint16")

    def utilisation(self, split: str) -> float:
        """Returns the fraction of the positions in the rows of `split` that are not padding.

        Every piece has a begin token, and every document with a token has one end token.
        """
        ends = self.total(split, "documents") - self.total(split, "empty")
        used = self.total(split, "tokens") + self.total(split, "pieces") + ends
        return used / max(self.total(split, "rows") * self.length, 1)

    @property
    def record(self) -> np.dtype[Any]:
        """Type of a row on disk."""
        return np.dtype((self.dtype, (self.length,)))

    def problem_in(self, records: np.ndarray) -> str:
        """Describes an id in the rows `records` that is beyond the vocabulary; empty where there is none."""
        highest = records.max(initial=0)
        return f"the id {highest} of a vocabulary of {self.vocab_size}" * bool(
            highest >= self.vocab_size
        )

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as they are stored in manifest.json."""
        return dataclasses.asdict(self)


def write_manifest(manifest: SetManifest, folder: Path) -> None:
    """Writes the manifest of a set into `folder`, completely or not at all; the set is then complete."""
    write_json(folder / MANIFEST, manifest.as_dict())


def read_manifest(folder: str | Path) -> Manifest:
    """Returns the manifest of a prepared set of text.

    Args:
      folder: Folder of the set, local or a URL of an object store.

    Raises:
      InputError: The folder is missing, incomplete, contains images or something else, or its manifest
        has another version or lacks a field.
    """
    content = read_content(folder)
    if "height" in content:
        raise InputError(f"{folder} holds images; read it with data=Images(…), not Rows(…)")
    return from_content(content, folder, Manifest)


def read_content(folder: str | Path) -> dict[str, Any]:
    """Returns the content of the manifest.json of a set of any kind.

    Args:
      folder: Folder of the set, local or a URL of an object store.

    Raises:
      InputError: There is no manifest, or it has another version.
    """
    path, content = _content(folder)
    if not isinstance(content, dict) or "format" not in content or "splits" not in content:
        raise InputError(f"{path} is no manifest of prepared rows")
    if content["format"] != FORMAT:
        raise InputError(
            f"{folder} has format {content['format']} and this version reads {FORMAT}; "
            "prepare the set anew, or use the version that wrote it"
        )
    return content


def from_content(
    content: dict[str, Any], folder: str | Path, kind: type[AnyManifest]
) -> AnyManifest:
    """Makes the manifest that the content of a manifest.json describes, after a check of every field.

    Args:
      content: The content.
      folder: Folder of the set, for error messages.
      kind: Class of the manifest.

    Raises:
      InputError: A field is missing or unknown, has another type or is outside its range, or a file is
        listed twice.
    """
    where = f"{folder}/{MANIFEST}"
    try:
        manifest = checked(content, kind, where)
    except InputError as error:
        raise InputError(f"{error}; restore it or prepare the set anew") from error
    shards = [shard for parts in manifest.splits.values() for shard in parts]
    files = Counter(name for shard in shards for name in (shard.file, shard.documents_file))
    if twice := [name for name, count in files.items() if count > 1]:
        raise InputError(f"{where} lists {twice[0]} twice; restore it or prepare the set anew")
    return cast(AnyManifest, manifest)


def is_prepared(folder: str | Path) -> bool:
    """Returns whether `folder`, local or on an object store, has a manifest."""
    return Store(folder).exists(MANIFEST) if is_url(folder) else (Path(folder) / MANIFEST).is_file()


def partial_of(folder: str | Path) -> Path:
    """Returns the folder in which the set of `folder` is written before it is renamed: FOLDER.partial."""
    folder = Path(folder)
    return folder.with_name(folder.name + ".partial")


def _content(folder: str | Path) -> tuple[str | Path, Any]:
    """Returns the path of the manifest and its content."""
    if is_url(folder):
        store = Store(folder)
        try:
            return f"{store.url}/{MANIFEST}", store.read_json(MANIFEST)
        except Missing as error:
            raise InputError(_why_missing_in_store(store)) from error
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(_why_missing(folder))
    try:
        return path, read_json(path)
    except InputError as error:
        raise InputError(f"{error}; restore it or prepare the set anew") from error


def _why_missing_in_store(store: Store) -> str:
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
