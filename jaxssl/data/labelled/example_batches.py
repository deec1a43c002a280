"""Turns labelled examples into batches: encodes, truncates, groups by length, shuffles.

    one text     [begin] text [end]
    a pair       [begin] first [end] second [end]

The examples of a batch have similar sizes, and the batch is padded to one of a few lengths. This
keeps both the padding and the number of shapes to compile small. Batch t is a pure function of
(examples, seed, t).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError

LONGEST_MULTIPLE = 16  # the longest padded length is a multiple of this
LENGTH_MULTIPLE = 8  # the shorter padded lengths are multiples of this


@dataclass(frozen=True)
class Encoded:
    """The token ids of labelled examples."""

    first: list[np.ndarray]
    """Tokens of each example's (first) text, int32 `[length]`, without `begin` and `end`."""
    second: list[np.ndarray] | None
    """Tokens of each example's second text; None if the examples are single texts."""
    labels: np.ndarray
    """Class id of each example, int32 `[examples]`."""

    def __len__(self) -> int:
        return len(self.first)

    @property
    def sizes(self) -> np.ndarray:
        """Returns the length of each example in tokens, with `begin` and `end`, int32 `[examples]`."""
        sizes = np.array([len(text) for text in self.first], np.int32) + 2
        if self.second is not None:
            sizes += np.array([len(text) for text in self.second], np.int32) + 1
        return sizes

    def take(self, ids: np.ndarray) -> "Encoded":
        """Returns the examples at the positions `ids`, `[number]`, in that order."""
        second = None if self.second is None else [self.second[i] for i in ids]
        return Encoded([self.first[i] for i in ids], second, self.labels[ids])


def encode(
    tokenizer: Tokenizer, first: Sequence[str], second: Sequence[str] | None, labels: np.ndarray
) -> Encoded:
    """Encodes the texts of all examples, in full length.

    Args:
      tokenizer: Tokenizer of the network.
      first: The (first) text of each example.
      second: The second text of each example; None for single texts.
      labels: Class id of each example, int32 `[examples]`.
    """
    encoded = None if second is None else tokenizer.encode(second)
    return Encoded(tokenizer.encode(first), encoded, labels)


def choose_length(splits: Sequence[Encoded], cover: float, limit: int) -> int:
    """Chooses the length of the longest row.

    Args:
      splits: The encoded splits.
      cover: Fraction of the examples of each split that must fit untruncated, in (0, 1].
      limit: Length of the longest row that the model accepts, in tokens.

    Returns:
      The smallest multiple of 16 that is enough for `cover`, in tokens; `limit` if that is less,
      even if it is not a multiple of 16.
    """
    longest = max(
        np.quantile(part.sizes, cover, method="inverted_cdf") for part in splits if len(part)
    )
    return min(round_up(int(longest), LONGEST_MULTIPLE), limit)


def round_up(size: int, multiple: int) -> int:
    """Returns the smallest multiple of `multiple` that is at least `size`."""
    return -(-size // multiple) * multiple


def kept_sizes(first: int, second: int, room: int) -> tuple[int, int]:
    """Returns how many tokens of each text of a pair are kept so that both fit into `room` tokens.

    The result is as if tokens were removed one by one from the end of the longer text, and from the
    second text while both are equally long.

    Args:
      first: Length of the first text in tokens.
      second: Length of the second text in tokens.
      room: Upper limit of the sum of the lengths that are kept, in tokens.

    References:
      Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language
      understanding"; `_truncate_seq_pair` of the released code.
    """
    if first + second <= room:
        return first, second
    if second <= room // 2:
        return room - second, second
    if first <= room - room // 2:
        return first, room - first
    return room - room // 2, room // 2


def truncate(examples: Encoded, length: int) -> tuple[Encoded, int]:
    """Truncates the examples to at most `length` tokens each, including `begin` and `end`.

    Pairs are truncated as `kept_sizes` says.

    Returns:
      The truncated `examples`, and the number of examples that lost tokens.
    """
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
    """Chooses the lengths to which batches are padded, such that the total padding is least.

    Candidates are the multiples of 8 below `length`, and `length` itself. The optimum is found by
    dynamic programming: an optimal choice of k lengths up to some candidate extends an optimal
    choice of k - 1 lengths up to a shorter candidate.

    Args:
      sizes: Length of each example in tokens, int `[examples]`.
      length: The longest length, in tokens; it is always chosen.
      buckets: Upper limit of the number of lengths.

    Returns:
      The chosen lengths in ascending order.
    """
    candidates = [*range(LENGTH_MULTIPLE, length, LENGTH_MULTIPLE), length]
    upto = np.array([0, *(np.count_nonzero(sizes <= c) for c in candidates)])
    # best[k][j]: (padded tokens, chosen lengths) for the examples of at most candidates[j - 1]
    # tokens, with k lengths
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


def padded_lengths(longest: int) -> tuple[int, ...]:
    """Returns a fixed set of lengths to pad to, so that few shapes are compiled, whatever the texts.

    The lengths are 8, 16, 24, 32, 48, 64, 96, … up to `longest`, in tokens: beyond 24, at most a half longer
    than the one before.
    """
    lengths, power = [8, 16, 24], 32
    while power < longest:
        lengths += [power, power * 3 // 2]
        power *= 2
    return (*(length for length in lengths if length < longest), longest)


def batch_for(examples: int, limit: int) -> int:
    """Returns the size of the batches for so many `examples`: a power of two, but at most `limit`."""
    return min(1 << max(examples - 1, 0).bit_length(), limit)


@dataclass(frozen=True)
class LabelledSpec:
    """Describes the batches of labelled examples to a network."""

    batch: int
    """Rows per batch."""
    lengths: tuple[int, ...]
    """Lengths in tokens to which batches are padded, in ascending order."""
    classes: int
    """Number of classes."""
    vocab_size: int
    """Number of token ids."""
    pad: int
    """Id of padding."""
    begin: int
    """Id of the first token of each row."""
    end: int
    """Id of the token after each text."""

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, *, batch: int, lengths: tuple[int, ...], classes: int
    ) -> "LabelledSpec":
        """Builds the description with the ids of a tokenizer.

        Args:
          tokenizer: Tokenizer that encodes the texts.
          batch: Rows per batch.
          lengths: Lengths in tokens to which batches are padded, in ascending order.
          classes: Number of classes.
        """
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
        """Returns the longest of the lengths, in tokens."""
        return self.lengths[-1]


class ExampleBatches:
    """Batches of labelled examples, with random access by step.

    A batch is a dictionary of int32 arrays:

        tokens    [batch, length]   token ids, padded
        sizes     [batch, 2]        tokens up to and including the first `end`; tokens of the example
        labels    [batch]           class ids

    Rows that fill up an incomplete batch have size 0 and label -1.

    Args:
      examples: The examples, none longer than the longest of `spec.lengths`.
      spec: The shapes and special ids.
      seed: Seed of the order of the examples.
      shuffle: True for an endless sequence of epochs, each in another random order (training); False
        for the same epoch again and again, ordered by length (evaluation).

    Raises:
      InputError: There are no examples.
      ValueError: An example is too long.
    """

    def __init__(self, examples: Encoded, spec: LabelledSpec, *, seed: int = 0, shuffle: bool):
        if not len(examples):
            raise InputError("there are no examples to make batches of")
        self.examples, self.spec = examples, spec
        self.seed, self.shuffle = seed, shuffle
        self.bucket = np.searchsorted(spec.lengths, examples.sizes)
        if self.bucket.max() == len(spec.lengths):
            raise ValueError(
                f"an example of {examples.sizes.max()} tokens exceeds the longest row of "
                f"{spec.longest}; truncate it first"
            )
        self.batches = -(-len(examples) // spec.batch)  # per epoch
        self._plan = lru_cache(maxsize=2)(self._make_plan)

    def row_ids(self, step: int) -> np.ndarray:
        """Returns the positions of the examples of batch `step`, `[rows]`, at most `spec.batch`."""
        epoch, number = divmod(step, self.batches)
        return self._plan(epoch if self.shuffle else 0)[number]

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Returns batch number `step`, counted from 0 through all epochs; its shapes are listed above."""
        ids, spec = self.row_ids(step), self.spec
        tokens = np.full((spec.batch, self.length(step)), spec.pad, np.int32)
        sizes = np.zeros((spec.batch, 2), np.int32)
        labels = np.full(spec.batch, -1, np.int32)
        labels[: len(ids)] = self.examples.labels[ids]
        for row, i in enumerate(ids):
            sizes[row] = self._write(tokens[row], i)
        return {"tokens": tokens, "sizes": sizes, "labels": labels}

    def length(self, step: int) -> int:
        """Returns the length in tokens to which batch `step` is padded, enough for all its examples."""
        return self.spec.lengths[int(self.bucket[self.row_ids(step)].max())]

    def mean_length(self) -> float:
        """Returns the mean length in tokens of the batches of the first epoch."""
        return float(np.mean([self.length(step) for step in range(self.batches)]))

    def _write(self, row: np.ndarray, i: int) -> tuple[int, int]:
        """Writes example i into `row`, `[length]`, and returns its two sizes."""
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
        """Returns the positions of the examples of each batch of an epoch.

        Examples that do not fill a batch of their own length join the next longer length.
        """
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
