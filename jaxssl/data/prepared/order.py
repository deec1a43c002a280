"""The order in which rows are read: ids of any stretch, without reading what comes before it."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Order(Protocol):
    """A sequence of row ids with random access."""

    endless: bool

    def ids(self, start: int, stop: int) -> np.ndarray:
        """int64 ids at places start to stop of the order."""
        ...

    def batches(self, batch: int) -> int:
        """Batches of one pass over the rows."""
        ...


class InOrder:
    """Every row once, as it was written."""

    endless = False

    def __init__(self, rows: int):
        self._rows = rows

    def ids(self, start: int, stop: int) -> np.ndarray:
        """The ids themselves, cut off at the last row."""
        return np.arange(min(start, self._rows), min(stop, self._rows))

    def batches(self, batch: int) -> int:
        """All of them, the last one not full."""
        return -(-self._rows // batch)


class Shuffled:
    """Endless epochs, each a permutation of its own; a mixture draws by weight, without chance.

    `set_rows` are the rows of every set, ids count through all sets. Without weights a set counts
    as much as it has rows. The share of each set is exact over any stretch, to one row.
    """

    endless = True

    def __init__(self, set_rows: Sequence[int], weights: Sequence[float], seed: int):
        import grain  # takes a second, and whoever only prepares rows does without

        self._rows = sum(set_rows)
        starts = np.cumsum([0, *set_rows]).tolist()
        epochs = [
            grain.MapDataset.range(start, stop).shuffle(seed=_seed(seed, number)).repeat()
            for number, (start, stop) in enumerate(zip(starts, starts[1:], strict=False))
        ]
        if len(epochs) == 1:
            self._order = epochs[0]
        else:
            shares = weights or [rows / self._rows for rows in set_rows]
            self._order = grain.MapDataset.mix(epochs, weights=list(shares))

    def ids(self, start: int, stop: int) -> np.ndarray:
        """Ids of a stretch; it may begin anywhere."""
        return np.array([self._order[place] for place in range(start, stop)], np.int64)

    def batches(self, batch: int) -> int:
        """The whole batches of an epoch, at least one."""
        return max(self._rows // batch, 1)


def _seed(seed: int, number: int) -> int:
    """A seed for one set. grain adds the epoch to it, so neighbours must not be one apart."""
    digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
