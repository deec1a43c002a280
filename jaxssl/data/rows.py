"""Batches of prepared rows: batch t is a pure function of (manifest, seed, t), on any host count.

The order is grain's: a shuffle by index, another one every epoch, endless; mixtures draw from every
set in proportion to its weight. So nothing is kept between batches, and a run starts at any t at no
cost. A host reads those parts of the same global batch that its devices need.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxssl.data.prepared.manifest import TOKENIZER, Manifest, read_manifest, verify_shards
from jaxssl.data.prepared.order import InOrder, Order, Shuffled
from jaxssl.data.prepared.shards import RowFiles
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.stores.shard_cache import shard_cache
from jaxssl.data.stores.store import is_url
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError

SURVEYED_ROWS = 32_768  # of a split: its tokens are counted in a moment


@dataclass(frozen=True)
class Rows:
    """Prepared rows to read: a folder, here or on an object store, or several as a mixture."""

    path: str | tuple[str, ...]  # or s3://…, gs://…
    batch: int = 64  # rows of the global batch
    weights: tuple[float, ...] = ()  # of a mixture; in proportion to the rows if empty
    prepare: Prepare | None = None  # makes the folder where it is missing
    cache: str = ""  # folder for shards of object stores; $JAXSSL_CACHE, else ~/.cache/jaxssl
    cache_gib: float = 50.0  # it never takes more

    def __post_init__(self) -> None:
        check_mixture(self)

    @property
    def paths(self) -> tuple[str, ...]:
        """The folders, also where there is only one."""
        return (self.path,) if isinstance(self.path, str) else tuple(self.path)

    def open(self, split: str = "train", **options: Any) -> "RowReader":
        """As `open_rows`."""
        return open_rows(self, split, **options)

    def read_spec(self, run: str | Path) -> tuple["TextSpec", Tokenizer]:
        """The rows that a run was trained on, and their tokenizer; as short as can be.

        No parameter depends on the length of rows, which some models limit.
        """
        tokenizer = load_tokenizer(Path(run) / TOKENIZER)
        return TextSpec.of(tokenizer, batch=self.batch, length=1), tokenizer


def check_mixture(config: Any) -> None:
    """Raises InputError for a batch, paths and weights that do not fit together."""
    if config.batch < 1:
        raise InputError(f"batch={config.batch} must be at least 1")
    if not config.paths:
        raise InputError("path names no prepared set")
    if not 0 < config.cache_gib < float("inf"):
        raise InputError(f"cache_gib={config.cache_gib} must be above 0")
    if config.weights and len(config.weights) != len(config.paths):
        raise InputError(
            f"{len(config.weights)} weights for {len(config.paths)} prepared sets; give one a set"
        )
    for weight in config.weights:
        if not 0 < weight < float("inf"):
            raise InputError(f"weight {weight} must be positive; leave out a set instead")
    if config.prepare is not None and len(config.paths) > 1:
        raise InputError(
            f"prepare makes one set and path names {len(config.paths)}; "
            "prepare each with `jaxssl prepare`"
        )


@dataclass(frozen=True, eq=False)
class TextSpec:
    """What a model and an objective must know of the batches."""

    batch: int  # rows of the global batch
    length: int  # tokens of a row
    vocab_size: int
    pad: int
    unknown: int
    begin: int
    end: int
    mask: int
    starts_word: np.ndarray  # bool [vocab]
    byte_length: np.ndarray  # int32 [vocab]
    special: np.ndarray  # bool [vocab]
    ends_sentence: np.ndarray  # bool [vocab]
    count: Callable[[], np.ndarray]  # reads many rows: called only where `frequency` is asked for

    @property
    def unit(self) -> str:
        """What the speed of a run counts."""
        return "tokens"

    @property
    def units(self) -> int:
        """Tokens of a batch."""
        return self.batch * self.length

    @property
    def in_words(self) -> str:
        """A row in words."""
        return f"{self.length} tokens, vocabulary {self.vocab_size:,}"

    @property
    def frequency(self) -> np.ndarray:
        """float64 [vocab], the share of each token in the text; even where there is no text."""
        return self.count()

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        *,
        batch: int,
        length: int,
        count: Callable[[], np.ndarray] | None = None,
    ) -> "TextSpec":
        """The description of rows of a tokenizer."""
        return cls(
            count=count or partial(even_frequency, tokenizer.special),
            batch=batch,
            length=length,
            vocab_size=tokenizer.vocab_size,
            pad=tokenizer.pad,
            unknown=tokenizer.unknown,
            begin=tokenizer.begin,
            end=tokenizer.end,
            mask=tokenizer.mask,
            starts_word=tokenizer.starts_word,
            byte_length=tokenizer.byte_length,
            special=tokenizer.special,
            ends_sentence=tokenizer.ends_sentence,
        )


def even_frequency(special: np.ndarray) -> np.ndarray:
    """Every token that is not special as often as any other."""
    return ~special / max(np.count_nonzero(~special), 1)


def count_tokens(files: RowFiles, special: np.ndarray) -> np.ndarray:
    """The share of each token in the text, counted in rows that lie evenly over all; special ones 0."""
    surveyed = min(files.rows, SURVEYED_ROWS)
    ids = np.linspace(0, files.rows - 1, surveyed).astype(np.int64)
    counts = np.zeros(len(special))
    for part in np.array_split(ids, max(surveyed // 4096, 1)):
        counts += np.bincount(files.read(part).ravel(), minlength=len(special))
    counts[special] = 0
    return counts / max(counts.sum(), 1.0)


class RowReader:
    """Reads batches; made by `open_rows`. Keeps no state but open files."""

    spec: TextSpec
    tokenizer: Tokenizer
    fingerprint: str  # of manifests, split, seed, batch and order: what a resumed run compares
    rows: int  # of the split, over all sets
    batches: int  # in order: all, the last one filled up; shuffled: the whole ones of an epoch
    stored_bytes: int  # of the shards that are on object stores

    def __init__(
        self,
        files: RowFiles,
        order: Order,
        spec: TextSpec,
        tokenizer: Tokenizer,
        *,
        fingerprint: str,
        parts: Sequence[range] | None = None,
    ):
        self.spec, self.tokenizer, self.fingerprint = spec, tokenizer, fingerprint
        self.rows, self.stored_bytes = files.rows, files.stored_bytes
        self.batches = order.batches(spec.batch)
        self._files, self._order = files, order
        self._parts = [range(spec.batch)] if parts is None else list(parts)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """{"tokens": int32 [rows, length]}, the parts of this host of global batch `step`.

        Shuffled rows go on for ever; in order, `step` must be below `batches`, and the last batch
        is filled up with rows of `pad`.
        """
        rows = sum(len(part) for part in self._parts)
        tokens = np.full((rows, self.spec.length), self.spec.pad, np.int32)
        start = 0
        for part in self._parts:
            ids = self._ids(step, part.start, part.stop)
            tokens[start : start + len(ids)] = self._files.read(ids)
            start += len(part)
        return {"tokens": tokens}

    def row_ids(self, step: int) -> np.ndarray:
        """int64 ids of the rows of the global batch, over all hosts; without rows of padding."""
        return self._ids(step, 0, self.spec.batch)

    def documents(self, row_ids: Sequence[int] | np.ndarray) -> list[str]:
        """Names of the documents that have a piece in any of these rows, each once, in order.

        In a mixture the folder stands before the name.
        """
        return self._files.documents(row_ids)

    def save_spec(self, run: str | Path) -> None:
        """Leaves in the folder of a run what `Rows.read_spec` reads."""
        self.tokenizer.save(Path(run) / TOKENIZER)

    def _ids(self, step: int, start: int, stop: int) -> np.ndarray:
        return ids_of_batch(self._order, self.batches, step, self.spec.batch, start, stop)


def ids_of_batch(
    order: Order, batches: int, step: int, batch: int, start: int, stop: int
) -> np.ndarray:
    """Ids of the rows `start` to `stop` of batch `step`."""
    if step < 0 or (step >= batches and not order.endless):
        raise IndexError(f"batch {step} does not exist; there are {batches}")
    return order.ids(step * batch + start, step * batch + stop)


def open_rows(
    config: Rows,
    split: str = "train",
    *,
    seed: int,
    parts: Sequence[range] | None = None,
    shuffle: bool = True,
    verify: bool = True,
) -> RowReader:
    """Opens prepared rows, and prepares them first where `config.prepare` says how.

    `parts` are the rows of the global batch that this host reads; all of them if None.
    `verify` reads every shard of the split once and compares its hash, at about 1 GB/s a core.
    Raises InputError for a set that is missing, half-written or corrupt, for a tokenizer that does
    not belong to it, and for a mixture that does not fit together.
    """
    manifests = [_manifest(path, config.prepare) for path in config.paths]
    _check_alike(config.paths, manifests)
    tokenizer = matching_tokenizer(config.paths[0], manifests[0].tokenizer)
    for path, manifest in zip(config.paths, manifests, strict=True):
        if not manifest.splits.get(split):
            known = ", ".join(manifest.splits)
            raise InputError(f"{path} has no split {split!r}; it has {known}")
        if verify and not is_url(path):  # what is fetched is always compared
            verify_shards(path, manifest, split)
    files = RowFiles(
        config.paths, manifests, split, partial(shard_cache, config.cache, config.cache_gib)
    )
    order = choose_order(files, config.weights, seed, shuffle=shuffle)
    return RowReader(
        files,
        order,
        TextSpec.of(
            tokenizer,
            batch=config.batch,
            length=manifests[0].length,
            count=cache(partial(count_tokens, files, tokenizer.special)),
        ),
        tokenizer,
        fingerprint=fingerprint_of_batches(manifests, split, config.batch, order),
        parts=parts,
    )


def _manifest(path: str, config: Prepare | None) -> Manifest:
    return read_manifest(path) if config is None else prepare(config, path)


def choose_order(files: RowFiles, weights: Sequence[float], seed: int, *, shuffle: bool) -> Order:
    """Shuffled without end, or every row once."""
    return Shuffled(files.set_rows, weights, seed) if shuffle else InOrder(files.rows)


def matching_tokenizer(path: str, fingerprint: str) -> Tokenizer:
    """The tokenizer of a prepared set. Raises InputError where it is not the one with `fingerprint`."""
    tokenizer = load_tokenizer(f"{path}/{TOKENIZER}")
    if tokenizer.fingerprint != fingerprint:
        raise InputError(
            f"the tokenizer in {path}/{TOKENIZER} is not the one that its rows were made with "
            f"({tokenizer.fingerprint[:12]}…, not {fingerprint[:12]}…); "
            "restore it or prepare the set anew"
        )
    return tokenizer


def _check_alike(paths: Sequence[str], manifests: Sequence[Manifest]) -> None:
    """All sets of a mixture must have rows of one length and one tokenizer."""
    first = manifests[0]
    for path, manifest in zip(paths, manifests, strict=True):
        if manifest.length != first.length:
            raise InputError(
                f"rows of {path} have {manifest.length} tokens and those of {paths[0]} "
                f"{first.length}; prepare them with the same --length"
            )
        if manifest.tokenizer != first.tokenizer:
            raise InputError(
                f"{path} and {paths[0]} have different tokenizers; "
                f"prepare one with --tokenizer {paths[0]}/{TOKENIZER}"
            )


def fingerprint_of_batches(manifests: Sequence[Any], split: str, batch: int, order: Order) -> str:
    """Holds the first ids themselves, so another shuffle (a new version of grain) shows as well."""
    content = {
        "sets": [manifest.fingerprint for manifest in manifests],
        "split": split,
        "batch": batch,
        "order": order.ids(0, 64).tolist(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
