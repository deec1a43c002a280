"""Random access to the rows of many shards, by row id."""

import contextlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from jaxssl.data.prepared.image_manifest import ImageManifest, ImageShard
from jaxssl.data.prepared.manifest import Manifest, Shard, file_sizes, read_documents
from jaxssl.data.stores.shard_cache import GIB, OPEN_FILES, ShardCache, Wanted, open_reader
from jaxssl.data.stores.store import Store, is_url
from jaxssl.errors import InputError

AnyManifest = Manifest | ImageManifest
AnyShard = Shard | ImageShard


class Shards(Protocol):
    """The shards of one prepared set, wherever they are."""

    def reader(self, shard: AnyShard) -> ArrayRecordReader:
        """An open reader of its rows; to be used before the next one is asked for."""
        ...

    def documents(self, shard: AnyShard) -> AbstractContextManager[Path]:
        """The file of its documents, which stays within the body."""
        ...

    def bring(self, shards: Sequence[AnyShard]) -> None:
        """Tells that these are about to be read."""
        ...


class LocalShards:
    """In a folder of this machine."""

    def __init__(self, folder: str, open_files: int):
        self._folder, self._limit = Path(folder), open_files
        self._open: OrderedDict[str, ArrayRecordReader] = OrderedDict()

    def reader(self, shard: AnyShard) -> ArrayRecordReader:
        """The one that was not used for longest is closed for it."""
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
        yield self._folder / shard.documents_file

    def bring(self, shards: Sequence[AnyShard]) -> None:
        pass


class StoredShards:
    """On an object store: what is read is fetched into the cache, verified, and left there."""

    def __init__(self, url: str, manifest: AnyManifest, split: str, cache: ShardCache):
        self._store, self._cache = Store(url), cache
        self._sizes = file_sizes(url, manifest, split)
        self.bytes = sum(self._sizes[shard.file] for shard in manifest.splits[split])
        if (largest := max(self._sizes.values())) > cache.limit:
            raise InputError(
                f"a shard of {url} has {largest:,} bytes and the cache holds {cache.limit:,}; "
                f"pass --data.cache-gib {in_gib(self.bytes)}, which holds all of them"
            )

    def reader(self, shard: AnyShard) -> ArrayRecordReader:
        return self._cache.reader(self._wanted(shard))

    @contextlib.contextmanager
    def documents(self, shard: AnyShard) -> Iterator[Path]:
        name, sha256 = shard.documents_file, shard.documents_sha256
        with self._cache.file(Wanted(self._store, name, sha256, self._sizes[name])) as path:
            yield path

    def bring(self, shards: Sequence[AnyShard]) -> None:
        self._cache.fetch_all([self._wanted(shard) for shard in shards])

    def _wanted(self, shard: AnyShard) -> Wanted:
        return Wanted(self._store, shard.file, shard.sha256, self._sizes[shard.file])


def in_gib(size: int) -> str:
    """Bytes as GiB, rounded up to a tenth."""
    return f"{math.ceil(10 * size / GIB) / 10:,.1f}"


class RowFiles:
    """The rows of one split of some prepared sets; ids count through sets and shards."""

    def __init__(
        self,
        paths: Sequence[str],
        manifests: Sequence[AnyManifest],
        split: str,
        cache: Callable[[], ShardCache],
    ):
        self.record = manifests[0].record
        sets: list[Shards] = [
            StoredShards(path, manifest, split, cache())
            if is_url(path)
            else LocalShards(path, max(OPEN_FILES // len(paths), 1))
            for path, manifest in zip(paths, manifests, strict=True)
        ]
        self._shards: list[tuple[str, Shards, AnyShard]] = [
            (path, place, shard)
            for path, place, manifest in zip(paths, sets, manifests, strict=True)
            for shard in manifest.splits[split]
        ]
        self.stored_bytes = sum(place.bytes for place in sets if isinstance(place, StoredShards))
        self.set_rows = [manifest.total(split, "rows") for manifest in manifests]
        self.rows = sum(self.set_rows)
        self._starts = np.cumsum([0, *(shard.rows for _, _, shard in self._shards)])
        self._named_by_path = len(paths) > 1

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Rows by id, in the order of ids, as an array of their type on disk: [ids, …]."""
        found = np.empty(len(ids), self.record)
        parts = self._by_shard(ids)
        self._bring([number for number, _, _ in parts])
        for number, places, rows in parts:
            found[places] = self._read(number, rows)
        return found

    def documents(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """Names of the documents with a piece in any of these rows, each once."""
        names: dict[str, None] = {}
        for number, _, rows in self._by_shard(np.asarray(ids, np.int64)):
            path, place, shard = self._shards[number]
            with place.documents(shard) as file:
                known, offsets, documents = read_documents(file)
            for row in rows.tolist():
                for document in documents[offsets[row] : offsets[row + 1]]:
                    name = known[document]
                    names[f"{path}:{name}" if self._named_by_path else name] = None
        return list(names)

    def _by_shard(self, ids: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """(number of the shard, places in ids, rows in the shard) for every shard that is met."""
        if len(ids) == 0:
            return []
        if ids.min() < 0 or ids.max() >= self.rows:
            raise IndexError(f"row ids must be 0 to {self.rows - 1}")
        shard = np.searchsorted(self._starts, ids, side="right") - 1
        places = np.argsort(shard, kind="stable")
        met, first = np.unique(shard[places], return_index=True)
        return [
            (number, part, ids[part] - self._starts[number])
            for number, part in zip(met.tolist(), np.split(places, first[1:]), strict=True)
        ]

    def _bring(self, numbers: Sequence[int]) -> None:
        wanted: dict[Shards, list[AnyShard]] = {}
        for _, place, shard in (self._shards[number] for number in numbers):
            wanted.setdefault(place, []).append(shard)
        for place, shards in wanted.items():
            place.bring(shards)

    def _read(self, number: int, rows: np.ndarray) -> np.ndarray:
        path, place, shard = self._shards[number]
        try:
            records = b"".join(place.reader(shard).read(rows.tolist()))
            return np.frombuffer(records, self.record).reshape(len(rows), *self.record.shape)
        except (RuntimeError, ValueError, IndexError) as error:
            raise InputError(
                f"shard {path}/{shard.file} cannot be read ({error}); "
                "restore it or prepare the set anew"
            ) from error
