"""Labelled examples as batches: encoded, cut, grouped by length, shuffled.

    one text     [begin] text [end]
    a pair       [begin] first [end] second [end]

A batch holds examples of similar size and is padded to one of a few lengths, so that little is
padded and little is compiled. Batch t is a pure function of (examples, seed, t).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError

LONGEST_MULTIPLE = 16  # the longest length is a multiple of it
LENGTH_MULTIPLE = 8  # the shorter ones are multiples of it


@dataclass(frozen=True)
class Encoded:
    """Tokens of examples without begin and end; `second` is None for single texts."""

    first: list[np.ndarray]
    second: list[np.ndarray] | None
    labels: np.ndarray  # int32 [examples]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def sizes(self) -> np.ndarray:
        """Tokens of every example with begin and end."""
        sizes = np.array([len(text) for text in self.first], np.int32) + 2
        if self.second is not None:
            sizes += np.array([len(text) for text in self.second], np.int32) + 1
        return sizes

    def take(self, ids: np.ndarray) -> "Encoded":
        """The examples of these ids, in their order."""
        second = None if self.second is None else [self.second[i] for i in ids]
        return Encoded([self.first[i] for i in ids], second, self.labels[ids])


def encode(
    tokenizer: Tokenizer, first: Sequence[str], second: Sequence[str] | None, labels: np.ndarray
) -> Encoded:
    """Tokens of every example; nothing is cut yet."""
    encoded = None if second is None else tokenizer.encode(second)
    return Encoded(tokenizer.encode(first), encoded, labels)


def choose_length(splits: Sequence[Encoded], cover: float, limit: int) -> int:
    """The smallest multiple of 16 that holds a share `cover` of the examples of every split whole.

    At most `limit`, the longest row that the model takes, whatever that is a multiple of.
    """
    longest = max(
        np.quantile(part.sizes, cover, method="inverted_cdf") for part in splits if len(part)
    )
    return min(round_up(int(longest), LONGEST_MULTIPLE), limit)


def round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def kept_sizes(first: int, second: int, room: int) -> tuple[int, int]:
    """How much of a pair stays when tokens are taken, one by one, from the end of the longer text.

    The second loses where both are equally long (Devlin et al. 2019, `_truncate_seq_pair`).
    """
    if first + second <= room:
        return first, second
    if second <= room // 2:
        return room - second, second
    if first <= room - room // 2:
        return first, room - first
    return room - room // 2, room // 2


def cut(examples: Encoded, length: int) -> tuple[Encoded, int]:
    """The examples with at most `length` tokens, begin and end included, and how many were cut."""
    too_long = np.flatnonzero(examples.sizes > length)
    first = list(examples.first)
    second = None if examples.second is None else list(examples.second)
    for i in too_long:
        if second is None:
            first[i] = first[i][: length - 2]
        else:
            kept = kept_sizes(len(first[i]), len(second[i]), length - 3)
            first[i], second[i] = first[i][: kept[0]], second[i][: kept[1]]
    return Encoded(first, second, examples.labels), len(too_long)


def bucket_lengths(sizes: np.ndarray, length: int, buckets: int) -> tuple[int, ...]:
    """At most `buckets` lengths, `length` the last, that pad the examples the least in all.

    Candidates are the multiples of 8 below `length`. Exact, by dynamic programming: the least
    padding up to a candidate with k lengths extends the least with k - 1 up to a shorter one.
    """
    candidates = [*range(LENGTH_MULTIPLE, length, LENGTH_MULTIPLE), length]
    upto = np.array([0, *(np.count_nonzero(sizes <= c) for c in candidates)])
    # best[k][j]: (tokens, chosen) for all examples of at most candidates[j - 1], with k lengths
    best: list[dict[int, tuple[int, tuple[int, ...]]]] = [{0: (0, ())}]
    for _ in range(min(buckets, len(candidates))):
        best.append(
            {
                j: min(
                    (
                        tokens + int(upto[j] - upto[i]) * candidates[j - 1],
                        (*chosen, candidates[j - 1]),
                    )
                    for i, (tokens, chosen) in best[-1].items()
                    if i < j
                )
                for j in range(1, len(candidates) + 1)
                if any(i < j for i in best[-1])
            }
        )
    finished = [row[len(candidates)] for row in best if len(candidates) in row]
    return min(finished)[1]


@dataclass(frozen=True)
class LabelledSpec:
    """What the batches look like: `batch` rows, each batch padded to one of `lengths`."""

    batch: int
    lengths: tuple[int, ...]
    classes: int
    vocab_size: int
    pad: int
    begin: int
    end: int

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, *, batch: int, lengths: tuple[int, ...], classes: int
    ) -> "LabelledSpec":
        """The description of batches in the words of a tokenizer."""
        return cls(
            batch=batch,
            lengths=lengths,
            classes=classes,
            vocab_size=tokenizer.vocab_size,
            pad=tokenizer.pad,
            begin=tokenizer.begin,
            end=tokenizer.end,
        )

    @property
    def longest(self) -> int:
        return self.lengths[-1]


class ExampleBatches:
    """Batches of examples: endless shuffled epochs for training, one pass in order of length else.

    A batch is {"tokens": [batch, length], "sizes": [batch, 2], "labels": [batch]}, all int32; sizes
    are the tokens up to and with the first `end`, and of the whole example. Rows that fill up the
    last batch of an epoch have size 0 and label -1.
    """

    def __init__(self, examples: Encoded, spec: LabelledSpec, *, seed: int = 0, shuffle: bool):
        if not len(examples):
            raise InputError("there is no example to make a batch of")
        self.examples, self.spec = examples, spec
        self.seed, self.shuffle = seed, shuffle
        self.bucket = np.searchsorted(spec.lengths, examples.sizes)
        if self.bucket.max() == len(spec.lengths):
            raise ValueError(f"an example of {examples.sizes.max()} tokens exceeds {spec.longest}")
        self.batches = -(-len(examples) // spec.batch)  # of one epoch
        self._plan = lru_cache(maxsize=2)(self._make_plan)

    def row_ids(self, step: int) -> np.ndarray:
        """Ids of the examples of batch `step`."""
        epoch, number = divmod(step, self.batches)
        return self._plan(epoch if self.shuffle else 0)[number]

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Batch `step`, counted through all epochs."""
        ids, spec = self.row_ids(step), self.spec
        tokens = np.full((spec.batch, self.length(step)), spec.pad, np.int32)
        sizes = np.zeros((spec.batch, 2), np.int32)
        labels = np.full(spec.batch, -1, np.int32)
        labels[: len(ids)] = self.examples.labels[ids]
        for row, i in enumerate(ids):
            sizes[row] = self._write(tokens[row], i)
        return {"tokens": tokens, "sizes": sizes, "labels": labels}

    def length(self, step: int) -> int:
        """What batch `step` is padded to: the shortest length that holds its longest example."""
        return self.spec.lengths[int(self.bucket[self.row_ids(step)].max())]

    def mean_length(self) -> float:
        """Mean length of the batches of an epoch."""
        return float(np.mean([self.length(step) for step in range(self.batches)]))

    def _write(self, row: np.ndarray, i: int) -> tuple[int, int]:
        first = self.examples.first[i]
        size = len(first) + 2
        row[0], row[1 : size - 1], row[size - 1] = self.spec.begin, first, self.spec.end
        if self.examples.second is None:
            return size, size
        second = self.examples.second[i]
        whole = size + len(second) + 1
        row[size : whole - 1], row[whole - 1] = second, self.spec.end
        return size, whole

    def _make_plan(self, epoch: int) -> list[np.ndarray]:
        """Ids of every batch of an epoch; what does not fill one moves on to the next length."""
        size, random = self.spec.batch, np.random.default_rng([self.seed, epoch])
        plan: list[np.ndarray] = []
        left = np.zeros(0, np.int64)
        for number in range(len(self.spec.lengths)):
            ids = np.flatnonzero(self.bucket == number)
            ids = np.concatenate([left, random.permutation(ids) if self.shuffle else ids])
            whole = len(ids) // size * size
            plan += np.split(ids[:whole], whole // size) if whole else []
            left = ids[whole:]
        plan += [left] if len(left) else []
        return [plan[i] for i in random.permutation(len(plan))] if self.shuffle else plan
