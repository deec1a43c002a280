"""What reading rows of text (`rows.py`) and reading images (`images.py`) have in common.

Batch t is a pure function of (prepared sets, seed, t), on any number of hosts. The order of the rows is
an endless sequence of shuffled epochs, or each row once; a mixture draws from every set in proportion to
its weight. Any position of the order is computed directly, so a reader keeps no state between batches and
a run resumes at any step at no cost. Each host reads only those rows of the global batch that its devices
need.
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, final

import numpy as np

from jaxssl.data.prepared.files import verify_shards
from jaxssl.data.prepared.manifest import TOKENIZER
from jaxssl.data.prepared.order import InOrder, Order, Sampled, Shuffled
from jaxssl.data.prepared.shards import AnyManifest, RowFiles
from jaxssl.data.stores.shard_cache import shard_cache
from jaxssl.data.stores.store import is_url
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, check_at_least, check_at_most, checked

MOST_ROWS = 2**22  # rows of a batch


class BatchSpec(Protocol):
    """What every description of batches has; `TextSpec` and `ImageSpec` are the two there are."""

    @property
    def batch(self) -> int:
        """Rows of the global batch."""
        ...


Spec = TypeVar("Spec", bound=BatchSpec)
AnyTokenizer = TypeVar("AnyTokenizer", bound=Tokenizer | None)


@dataclass(frozen=True)
@checked
class PreparedSets(ABC):
    """Prepared sets to read, and how: the base of the configurations `Rows` and `Images`."""

    path: str | tuple[str, ...]
    """Folder of the prepared set, local or a URL such as s3://… or gs://…; several folders are a mixture."""
    batch: int = 64
    """Rows (of text, or images) of the global batch, over all hosts."""
    weights: tuple[float, ...] = ()
    """Positive weight of each set of a mixture; of the rows read, weight / sum(weights) are from that set.
    Empty: each set weighs as much as it has rows."""
    prepare: Any = None
    """How the set is prepared if the folder does not exist yet. None: a missing folder is an error."""
    cache: str = ""
    """Folder that keeps shards of object stores. Empty: $JAXSSL_CACHE, else ~/.cache/jaxssl."""
    cache_gib: float = 50.0
    """Upper limit of the shards in that folder, in GiB; the least recently used are removed first."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "batch")
        check_at_most(self, MOST_ROWS, "batch")
        if not self.paths:
            raise InputError("path names no prepared set")
        if not 0 < self.cache_gib < float("inf"):
            raise InputError(f"cache_gib={self.cache_gib} must be above 0")
        if self.weights and len(self.weights) != len(self.paths):
            raise InputError(
                f"{len(self.weights)} weights for {len(self.paths)} prepared sets; give one a set"
            )
        for weight in self.weights:
            if not 0 < weight < float("inf"):
                raise InputError(f"weight {weight} must be positive; leave out a set instead")
        if self.prepare is not None and len(self.paths) > 1:
            raise InputError(
                f"prepare makes one set and path names {len(self.paths)}; "
                "prepare each with `jaxssl prepare`"
            )

    @final
    @property
    def paths(self) -> tuple[str, ...]:
        """The folders of all sets, as a tuple even if there is only one."""
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)

    @abstractmethod
    def open(self, split: str = "train", **options: Any) -> "BatchReader[Any, Any]":
        """Opens one split of the sets for reading.

        Args:
          split: "train" or "valid".
          **options: Options of `open_rows` or `open_images`.
        """

    @abstractmethod
    def read_spec(self, run: str | Path) -> tuple[Any, Tokenizer | None]:
        """Returns the batches' description and the tokenizer that `BatchReader.save_spec` left in `run`."""


class OpenSplit(NamedTuple):
    """One split of the prepared sets, opened."""

    files: RowFiles
    """Random access to the rows of all sets."""
    order: Order
    """The order in which rows are read."""
    fingerprint: str
    """sha256 of everything that decides the content of the batches."""


class BatchReader(ABC, Generic[Spec, AnyTokenizer]):
    """Reads batches of prepared rows. Its only state are open files.

    Args:
      opened: The files and the order of one split, from `open_split`.
      spec: Description of the batches.
      tokenizer: Tokenizer of the texts in the batches, or None if there are none.
      parts: Ranges of rows of the global batch that this host reads, in this order. None: all rows.
    """

    spec: Spec
    """Description of the batches."""
    tokenizer: AnyTokenizer
    """Tokenizer of the texts in the batches, or None if there are none."""
    fingerprint: str
    """sha256 of sets, split, seed, batch size and order. A resumed run compares it with its own."""
    rows: int
    """Rows of the split, over all sets."""
    set_rows: list[int]
    """Rows of the split in each set."""
    batches: int
    """Batches of one pass. In order: all, the last one filled up. Shuffled: the full ones of an epoch."""
    stored_bytes: int
    """Bytes of those shards that are on object stores."""

    def __init__(
        self,
        opened: OpenSplit,
        spec: Spec,
        tokenizer: AnyTokenizer,
        *,
        parts: Sequence[range] | None = None,
    ):
        self.spec, self.tokenizer, self.fingerprint = spec, tokenizer, opened.fingerprint
        self._files, self._order = opened.files, opened.order
        self.rows, self.stored_bytes = self._files.rows, self._files.stored_bytes
        self.set_rows = self._files.set_rows
        self.batches = self._order.batches(spec.batch)
        self._parts = [range(spec.batch)] if parts is None else list(parts)
        self._check_memory()

    def _check_memory(self) -> None:
        """Refuses a batch that takes more than half of this machine's memory."""
        needed = sum(len(part) for part in self._parts) * self._files.record.itemsize
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if needed > memory / 2:
            raise InputError(
                f"batch={self.spec.batch} takes {needed / 2**30:.1f} GiB on this host, more than half of its "
                f"{memory / 2**30:.1f} GiB of memory; set a smaller batch"
            )

    @abstractmethod
    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Returns this host's rows of global batch number `step`, as arrays by name.

        A shuffled order has no end. In order, `step` must be below `batches`, and the last batch is
        filled up to its full size.
        """

    @abstractmethod
    def save_spec(self, run: str | Path) -> None:
        """Writes the files that `PreparedSets.read_spec` reads into the folder `run`."""

    @final
    def row_ids(self, step: int) -> np.ndarray:
        """Returns the ids of the rows of global batch number `step`, over all hosts, int64 `[rows]`.

        Rows that only fill up the last batch are left out.
        """
        return self._ids(step, 0, self.spec.batch)

    @final
    def documents(self, row_ids: Sequence[int] | np.ndarray) -> list[str]:
        """Returns the names of the documents or images in these rows, each once, in order.

        Args:
          row_ids: Ids of rows, int64 `[rows]`. In a mixture the folder of the set precedes each name.
        """
        return self._files.documents(row_ids)

    @final
    def _ids(self, step: int, start: int, stop: int) -> np.ndarray:
        """Returns the ids of rows `start` to `stop` of a batch, fewer at the end of a finite order."""
        if step < 0 or (step >= self.batches and not self._order.endless):
            raise IndexError(f"batch {step} does not exist; there are {self.batches}")
        first = step * self.spec.batch
        return self._order.ids(first + start, first + stop)


def open_split(
    config: PreparedSets,
    manifests: Sequence[AnyManifest],
    split: str,
    *,
    seed: int,
    shuffle: bool,
    sampled: bool,
    verify: bool,
) -> OpenSplit:
    """Opens the shards of one split of all sets of a configuration.

    Args:
      config: The prepared sets.
      manifests: Their manifests, in the order of `config.paths`.
      split: "train" or "valid".
      seed: Seed of the order.
      shuffle: Endless shuffled epochs if true, else every row once in the order it was written.
      sampled: Every row once, in a fixed order whose first part is an even sample of all rows; it needs
        `shuffle=False`.
      verify: Whether every local shard is read once and its sha256 compared. A shard of an object store
        is compared whenever it is downloaded.

    Raises:
      InputError: A set lacks the split, or one of its shards is missing or damaged; or the rows are to be
        both shuffled and sampled.
    """
    if shuffle and sampled:
        raise InputError("sampled=True reads every row once; set shuffle to False")
    for path, manifest in zip(config.paths, manifests, strict=True):
        if not manifest.splits.get(split):
            raise InputError(f"{path} has no split {split!r}; it has {', '.join(manifest.splits)}")
        if verify and not is_url(path):
            verify_shards(path, manifest, split)
    cache = partial(shard_cache, config.cache, config.cache_gib)
    files = RowFiles(config.paths, manifests, split, cache)
    order: Order = Sampled(files.rows) if sampled else InOrder(files.rows)
    if shuffle:
        order = Shuffled(files.set_rows, config.weights, seed)
    return OpenSplit(files, order, fingerprint_of_batches(manifests, split, config.batch, order))


def check_alike(
    paths: Sequence[str], manifests: Sequence[AnyManifest], names: Sequence[str]
) -> None:
    """Checks that the sets of a mixture can stand in one batch.

    Args:
      paths: Folders of the sets.
      manifests: Their manifests, in the same order.
      names: Fields in which all manifests must be equal.

    Raises:
      InputError: Two sets differ in one of the fields.
    """
    first = manifests[0]
    for path, manifest in zip(paths, manifests, strict=True):
        for name in names:
            found, wanted = getattr(manifest, name), getattr(first, name)
            if found == wanted:
                continue
            if name == "tokenizer":
                raise InputError(
                    f"{path} and {paths[0]} have different tokenizers; "
                    f"prepare one of them with the tokenizer in {paths[0]}/{TOKENIZER}"
                )
            raise InputError(
                f"{path} has {name} {found} and {paths[0]} has {wanted}; prepare them alike"
            )


def matching_tokenizer(path: str, fingerprint: str) -> Tokenizer:
    """Returns the tokenizer of a prepared set.

    Args:
      path: Folder of the set.
      fingerprint: Fingerprint of the tokenizer that its manifest names.

    Raises:
      InputError: The tokenizer in the folder has another fingerprint.
    """
    tokenizer = load_tokenizer(f"{path}/{TOKENIZER}")
    if tokenizer.fingerprint != fingerprint:
        raise InputError(
            f"the tokenizer in {path}/{TOKENIZER} is not the one that its rows were made with "
            f"({tokenizer.fingerprint[:12]}…, not {fingerprint[:12]}…); "
            "restore it or prepare the set anew"
        )
    return tokenizer


def fingerprint_of_batches(
    manifests: Sequence[AnyManifest], split: str, batch: int, order: Order
) -> str:
    """Returns a sha256, in hexadecimal, of everything that decides the content of the batches.

    Args:
      manifests: Manifests of all sets.
      split: Name of the split.
      batch: Rows of the global batch.
      order: Order of the rows. Its first 64 ids are hashed themselves, so the fingerprint also changes
        where another version of grain shuffles differently.
    """
    content = {
        "sets": [manifest.fingerprint for manifest in manifests],
        "split": split,
        "batch": batch,
        "order": order.ids(0, 64).tolist(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
