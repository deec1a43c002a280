"""Random access to the rows of many shards, local or on object stores, by row id."""

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, final

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from jaxssl.data.prepared.documents import read_documents
from jaxssl.data.prepared.files import file_sizes
from jaxssl.data.prepared.image_manifest import ImageManifest, ImageShard
from jaxssl.data.prepared.manifest import Manifest, Shard
from jaxssl.data.stores.shard_cache import GIB, OPEN_FILES, ShardCache, Wanted, open_reader
from jaxssl.data.stores.store import Store, is_url
from jaxssl.errors import InputError

AnyManifest = Manifest | ImageManifest
AnyShard = Shard | ImageShard


class Shards(Protocol):
    """The shards of one prepared set, wherever they are stored."""

    def reader(self, shard: AnyShard) -> ArrayRecordReader:
        """Returns an open reader of the rows of `shard`. The next call may close it."""
        ...

    def documents(self, shard: AnyShard) -> AbstractContextManager[Path]:
        """Yields the path of the documents file of `shard`, which stays on disk within the context."""
        ...

    def fetch(self, shards: Sequence[AnyShard]) -> None:
        """Makes `shards`, which are about to be read, available on this machine."""
        ...


@final
class LocalShards:
    """Shards in a local folder.

    Args:
      folder: The folder.
      open_files: How many files are kept open at most; the least recently used one is closed first.
    """

    def __init__(self, folder: str, open_files: int):
        self._folder, self._limit = Path(folder), open_files
        self._open: OrderedDict[str, ArrayRecordReader] = OrderedDict()

    def reader(self, shard: AnyShard) -> ArrayRecordReader:
        """Returns an open reader of the rows of `shard`. The next call may close it."""
        if shard.file in self._open:
            self._open.move_to_end(shard.file)
            return self._open[shard.file]
        reader = open_reader(self._folder / shard.file)
        if len(self._open) >= self._limit:
            self._open.popitem(last=False)[1].close()
        self._open[shard.file] = reader
        return reader

    @contextlib.contextmanager
    def documents(self, shard: AnyShard) -> Iterator[Path]:
        """Yields the path of the documents file of `shard`."""
        yield self._folder / shard.documents_file

    def fetch(self, shards: Sequence[AnyShard]) -> None:
        """Does nothing: local `shards` are available already."""


@final
class StoredShards:
    """Shards on an object store. A shard that is read is downloaded into the cache, verified and kept.

    Args:
      url: Folder of the set on the object store.
      manifest: Manifest of the set.
      split: "train" or "valid".
      cache: Local cache of shards.

    Raises:
      InputError: A file of the split is missing, or one alone exceeds the limit of the cache.
    """

    def __init__(self, url: str, manifest: AnyManifest, split: str, cache: ShardCache):
        self._store, self._cache = Store(url), cache
        self.sizes = file_sizes(url, manifest, split)
        self.bytes = sum(self.sizes[shard.file] for shard in manifest.splits[split])
        if (largest := max(self.sizes.values())) > cache.limit:
            raise InputError(
                f"a shard of {url} has {largest:,} bytes and the cache holds {cache.limit:,}; "
                f"set data.cache_gib to {in_gib(self.bytes)}, which holds all of them"
            )

    def reader(self, shard: AnyShard) -> ArrayRecordReader:
        """Returns an open reader of the rows of `shard`, which it downloads first if necessary."""
        return self._cache.reader(self._wanted(shard))

    @contextlib.contextmanager
    def documents(self, shard: AnyShard) -> Iterator[Path]:
        """Yields the path of the documents file of `shard`, which it downloads first if necessary."""
        name, sha256 = shard.documents_file, shard.documents_sha256
        with self._cache.file(Wanted(self._store, name, sha256, self.sizes[name])) as path:
            yield path

    def fetch(self, shards: Sequence[AnyShard]) -> None:
        """Downloads those of `shards` that are not in the cache, several at the same time."""
        self._cache.fetch_all([self._wanted(shard) for shard in shards])

    def _wanted(self, shard: AnyShard) -> Wanted:
        return Wanted(self._store, shard.file, shard.sha256, self.sizes[shard.file])


def in_gib(size: int) -> str:
    """Returns `size`, in bytes, as GiB with one decimal, rounded up."""
    return f"{math.ceil(10 * size / GIB) / 10:,.1f}"


def _check_sizes(path: str, sizes: dict[str, int], manifest: AnyManifest, split: str) -> None:
    """Raises InputError where a split has no row, or a file is too small for the rows that it should hold.

    The rows are stored uncompressed. So a manifest that was changed cannot make a reader allocate more than
    the files hold.
    """
    if manifest.total(split, "rows") == 0:
        raise InputError(f"the split {split!r} of {path} has no row; prepare the set anew")
    size = manifest.record.itemsize
    for shard in manifest.splits[split]:
        if sizes[shard.file] < shard.rows * size:
            raise InputError(
                f"shard {path}/{shard.file} has {sizes[shard.file]:,} bytes, too few for "
                f"{shard.rows:,} rows of {size:,}; restore it or prepare the set anew"
            )


@final
class RowFiles:
    """The rows of one split of one or several prepared sets. Row ids count through all sets and shards.

    Args:
      paths: Folders of the sets, local or URLs of object stores.
      manifests: Their manifests, in the same order. All have the same type of record.
      split: "train" or "valid".
      cache: Returns the cache for shards of object stores; called only if there are any.
    """

    def __init__(
        self,
        paths: Sequence[str],
        manifests: Sequence[AnyManifest],
        split: str,
        cache: Callable[[], ShardCache],
    ):
        self.record, self._problem_in = manifests[0].record, manifests[0].problem_in
        sets: list[Shards] = [
            StoredShards(path, manifest, split, cache())
            if is_url(path)
            else LocalShards(path, max(OPEN_FILES // len(paths), 1))
            for path, manifest in zip(paths, manifests, strict=True)
        ]
        self._shards: list[tuple[str, Shards, AnyShard]] = [
            (path, shards, shard)
            for path, shards, manifest in zip(paths, sets, manifests, strict=True)
            for shard in manifest.splits[split]
        ]
        for path, shards, manifest in zip(paths, sets, manifests, strict=True):
            if isinstance(shards, StoredShards):
                _check_sizes(path, shards.sizes, manifest, split)
            else:
                _check_sizes(path, file_sizes(path, manifest, split), manifest, split)
        self.stored_bytes = sum(s.bytes for s in sets if isinstance(s, StoredShards))
        self.set_rows = [manifest.total(split, "rows") for manifest in manifests]
        self.rows = sum(self.set_rows)
        self._starts = np.cumsum([0, *(shard.rows for _, _, shard in self._shards)])
        self._named_by_path = len(paths) > 1

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Reads rows by their ids.

        Args:
          ids: Row ids, int64 `[ids]`.

        Returns:
          The rows in the order of `ids`, in their type on disk: `[ids, length]` for text, structured
          records `[ids]` for images.

        Raises:
          IndexError: There is no row with such an id.
          InputError: A shard cannot be read.
        """
        found = np.empty(len(ids), self.record)
        parts = self._by_shard(ids)
        self._fetch([number for number, _, _ in parts])
        for number, positions, rows in parts:
            found[positions] = self._read(number, rows)
        return found

    def documents(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """Returns the names of the documents with a piece in any of these rows, each once.

        Args:
          ids: Row ids, `[ids]`. With several sets the folder of the set precedes each name.
        """
        names: dict[str, None] = {}
        for number, _, rows in self._by_shard(np.asarray(ids, np.int64)):
            path, shards, shard = self._shards[number]
            with shards.documents(shard) as file:
                known, offsets, documents = read_documents(file, shard.rows)
            for row in rows.tolist():
                for document in documents[offsets[row] : offsets[row + 1]]:
                    name = known[document]
                    names[f"{path}:{name}" if self._named_by_path else name] = None
        return list(names)

    def _by_shard(self, ids: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Groups row ids by shard: (number of the shard, positions in `ids`, rows in the shard)."""
        if len(ids) == 0:
            return []
        if ids.min() < 0 or ids.max() >= self.rows:
            raise IndexError(f"row ids must be 0 to {self.rows - 1}")
        shard = np.searchsorted(self._starts, ids, side="right") - 1
        positions = np.argsort(shard, kind="stable")
        met, first = np.unique(shard[positions], return_index=True)
        return [
            (number, part, ids[part] - self._starts[number])
            for number, part in zip(met.tolist(), np.split(positions, first[1:]), strict=True)
        ]

    def _fetch(self, numbers: Sequence[int]) -> None:
        """Makes these shards available on this machine, all shards of a set at the same time."""
        wanted: dict[Shards, list[AnyShard]] = {}
        for _, shards, shard in (self._shards[number] for number in numbers):
            wanted.setdefault(shards, []).append(shard)
        for shards, needed in wanted.items():
            shards.fetch(needed)

    def _read(self, number: int, rows: np.ndarray) -> np.ndarray:
        path, shards, shard = self._shards[number]
        try:
            records = b"".join(shards.reader(shard).read(rows.tolist()))
            found = np.frombuffer(records, self.record).reshape(len(rows), *self.record.shape)
            if problem := self._problem_in(found):
                raise ValueError(f"it holds {problem}")
            return found
        except (RuntimeError, ValueError, IndexError) as error:
            raise InputError(
                f"shard {path}/{shard.file} cannot be read ({error}); "
                "restore it or prepare the set anew"
            ) from error
