"""The order in which rows are read. Any range of it is computed without what precedes it."""

import hashlib
from collections.abc import Sequence
from typing import Protocol, final

import numpy as np


class Order(Protocol):
    """A sequence of row ids with random access."""

    endless: bool
    """Whether the sequence has no end."""

    def ids(self, start: int, stop: int) -> np.ndarray:
        """Returns the row ids at positions `start` to `stop` (exclusive), int64 `[stop - start]`."""
        ...

    def batches(self, batch: int) -> int:
        """Returns the number of batches of `batch` rows in one pass over all rows."""
        ...


@final
class InOrder:
    """Every row once, in the order in which the rows were written.

    Args:
      rows: Number of rows.
    """

    endless = False

    def __init__(self, rows: int):
        self._rows = rows

    def ids(self, start: int, stop: int) -> np.ndarray:
        """Returns the row ids at positions `start` to `stop` (exclusive), fewer at the end of the rows."""
        return np.arange(min(start, self._rows), min(stop, self._rows))

    def batches(self, batch: int) -> int:
        """Returns the number of batches of `batch` rows, of which the last may not be full."""
        return -(-self._rows // batch)


@final
class Sampled:
    """Every row once, in the order of a hash of its id: any first part is an even sample of all rows.

    The order has no seed, so that all runs read the same sample.

    Args:
      rows: Number of rows.
    """

    endless = False

    def __init__(self, rows: int):
        self._order = np.argsort(_mixed(np.arange(rows, dtype=np.uint64)), kind="stable")

    def ids(self, start: int, stop: int) -> np.ndarray:
        """Returns the row ids at positions `start` to `stop` (exclusive), fewer at the end of the rows."""
        return self._order[start:stop].astype(np.int64)

    def batches(self, batch: int) -> int:
        """Returns the number of batches of `batch` rows, of which the last may not be full."""
        return -(-len(self._order) // batch)


@final
class Shuffled:
    """Endless epochs, each another permutation of the rows. Row ids count through all sets.

    In a mixture each set has epochs of its own. Sets alternate in a fixed pattern rather than at random,
    so in any range of positions the number of rows from each set is its weight's share, to within one row.

    Args:
      set_rows: Number of rows of each set.
      weights: Positive weight of each set. Empty: the number of its rows.
      seed: Seed of the permutations.
    """

    endless = True

    def __init__(self, set_rows: Sequence[int], weights: Sequence[float], seed: int):
        import grain  # takes a second, which a program that only prepares rows does not spend

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
        """Returns the row ids at positions `start` to `stop` (exclusive), int64 `[stop - start]`."""
        return np.array([self._order[position] for position in range(start, stop)], np.int64)

    def batches(self, batch: int) -> int:
        """Returns the number of full batches of `batch` rows in one epoch, at least 1."""
        return max(self._rows // batch, 1)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Hashes each number, uint64, without collisions (the finalizer of SplitMix64, Steele et al. 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _seed(seed: int, number: int) -> int:
    """Returns a seed for one set. grain adds the epoch to a seed, so two seeds must not differ by little."""
    digest = hashlib.blake2b(f"{seed} {number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
