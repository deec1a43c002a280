"""Random access to the rows of many shards, by row id."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from jaxssl.data.manifest import Manifest, Shard, read_documents
from jaxssl.errors import InputError

READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # for random access
READER_BUFFER = 32_768  # bytes; the default of a megabyte would be read for every row
OPEN_FILES = 256  # kept open at a time; many systems allow a process 1024


class RowFiles:
    """The rows of one split of some prepared sets; ids count through sets and shards."""

    def __init__(self, paths: Sequence[str], manifests: Sequence[Manifest], split: str):
        self._length = manifests[0].length
        self._dtype = np.dtype(manifests[0].dtype)
        self._shards: list[tuple[str, Shard]] = [
            (path, shard)
            for path, manifest in zip(paths, manifests, strict=True)
            for shard in manifest.splits[split]
        ]
        self.set_rows = [manifest.total(split, "rows") for manifest in manifests]
        self.rows = sum(self.set_rows)
        self._starts = np.cumsum([0, *(shard.rows for _, shard in self._shards)])
        self._named_by_path = len(paths) > 1
        self._open: OrderedDict[int, ArrayRecordReader] = OrderedDict()

    def read(self, ids: np.ndarray) -> np.ndarray:
        """Rows by id, in the order of ids: int32 [ids, length]."""
        tokens = np.empty((len(ids), self._length), np.int32)
        for number, places, rows in self._by_shard(ids):
            tokens[places] = self._read(number, rows)
        return tokens

    def documents(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """Names of the documents with a piece in any of these rows, each once."""
        names: dict[str, None] = {}
        for number, _, rows in self._by_shard(np.asarray(ids, np.int64)):
            path, shard = self._shards[number]
            known, offsets, documents = read_documents(path, shard)
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

    def _read(self, number: int, rows: np.ndarray) -> np.ndarray:
        path, shard = self._shards[number]
        try:
            records = b"".join(self._reader(number).read(rows.tolist()))
            return np.frombuffer(records, self._dtype).reshape(len(rows), self._length)
        except (RuntimeError, ValueError, IndexError) as error:
            raise InputError(
                f"shard {Path(path) / shard.file} cannot be read ({error}); "
                "restore it or prepare the set anew"
            ) from error

    def _reader(self, number: int) -> ArrayRecordReader:
        """An open reader; the one that was not used for longest is closed for it."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        path, shard = self._shards[number]
        reader = ArrayRecordReader(
            str(Path(path) / shard.file),
            options=READER_OPTIONS,
            file_reader_buffer_size=READER_BUFFER,
        )
        if len(self._open) >= OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        self._open[number] = reader
        return reader
