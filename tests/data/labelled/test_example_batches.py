"""Batches of examples: truncation against a slow reference, buckets against all choices, order."""

import itertools

import numpy as np
import pytest

from jaxssl.data.labelled.example_batches import (
    Encoded,
    ExampleBatches,
    LabelledSpec,
    batch_for,
    bucket_lengths,
    choose_length,
    kept_sizes,
    padded_lengths,
    truncate,
)
from jaxssl.errors import InputError


def encoded(sizes, pairs=False):
    """Examples of so many tokens with begin and end; every token tells of its example."""
    inner = [size - (3 if pairs else 2) for size in sizes]
    first = [np.full(n - n // 3 if pairs else n, 10 + i, np.int32) for i, n in enumerate(inner)]
    second = [np.full(n // 3, 10 + i, np.int32) for i, n in enumerate(inner)] if pairs else None
    return Encoded(first, second, np.arange(len(sizes), dtype=np.int32) % 2)


def spec(lengths=(8, 16), batch=4):
    return LabelledSpec(batch, lengths, classes=2, vocab_size=99, pad=0, begin=2, end=3)


def slowly(first, second, room):
    """Devlin et al. 2019: pop from the longer one, the second where they are equal."""
    while first + second > room:
        first, second = (first - 1, second) if first > second else (first, second - 1)
    return first, second


def test_pairs_lose_from_the_longer_text():
    for first, second, room in itertools.product(range(9), range(9), range(1, 12)):
        assert kept_sizes(first, second, room) == slowly(first, second, room)


@pytest.mark.parametrize("pairs", [False, True])
def test_truncation_counts_the_examples_that_lose_tokens(pairs):
    examples, count = truncate(encoded([4, 9, 30, 12], pairs), 10)
    assert count == 2
    assert list(examples.sizes) == [4, 9, 10, 10]


def test_length_covers_the_share_of_every_split():
    short, long = encoded([5] * 99 + [60]), encoded([20] * 100)
    assert choose_length([short], 0.99, 512) == 16
    assert choose_length([short], 1.0, 512) == 64
    assert choose_length([short, long], 0.99, 512) == 32
    assert choose_length([short, long], 1.0, 40) == 40  # what the model takes


def test_bucket_lengths_are_the_best_of_all_choices():
    random = np.random.default_rng(0)
    for _ in range(20):
        sizes = np.minimum(2 + random.geometric(0.1, 50), 40)
        wanted = [8, 16, 24, 32, 40]
        choices = [
            (*chosen, 40) for k in range(3) for chosen in itertools.combinations(wanted[:-1], k)
        ]
        least = min(padded(sizes, choice) for choice in choices)
        assert padded(sizes, bucket_lengths(sizes, 40, 3)) == least
    assert bucket_lengths(sizes, 40, 1) == (40,)
    assert bucket_lengths(sizes, 6, 4) == (6,)


def padded(sizes, lengths):
    return sum(min(length for length in lengths if length >= size) for size in sizes)


@pytest.mark.parametrize("pairs", [False, True])
def test_rows_are_written_whole(pairs):
    examples = encoded([6, 10, 7], pairs)
    batch = ExampleBatches(examples, spec((16,)), shuffle=False).batch(0)
    for row, i in enumerate(range(3)):
        text = [2, *examples.first[i], 3]
        whole = text + ([*examples.second[i], 3] if pairs else [])
        assert list(batch["tokens"][row]) == whole + [0] * (16 - len(whole))
        assert list(batch["sizes"][row]) == [len(text), len(whole)]
    assert list(batch["labels"]) == [0, 1, 0, -1]
    assert list(batch["sizes"][3]) == [0, 0]
    assert not batch["tokens"][3].any()


def test_every_epoch_has_every_example_once_in_another_order():
    batches = ExampleBatches(encoded([3 + i % 14 for i in range(50)]), spec(), seed=1, shuffle=True)
    assert batches.batches == 13
    epochs = [
        np.concatenate([batches.row_ids(epoch * 13 + step) for step in range(13)])
        for epoch in range(3)
    ]
    for epoch in epochs:
        assert sorted(epoch) == list(range(50))
    assert not np.array_equal(epochs[0], epochs[1])
    sizes = [len(batches.row_ids(step)) for step in range(13)]
    assert sorted(sizes) == [2] + [4] * 12


def test_batches_are_a_function_of_seed_and_step():
    examples = encoded([3 + i % 14 for i in range(50)])
    one, again = (ExampleBatches(examples, spec(), seed=5, shuffle=True) for _ in range(2))
    other = ExampleBatches(examples, spec(), seed=6, shuffle=True)
    for step in (40, 3, 17):  # in any order, from any start
        first, second = one.batch(step), again.batch(step)
        assert all(np.array_equal(first[name], second[name]) for name in first)
    ids = [np.concatenate([b.row_ids(step) for step in range(13)]) for b in (one, other)]
    assert not np.array_equal(*ids)


def test_batches_of_short_examples_are_short():
    batches = ExampleBatches(encoded([5] * 20 + [15] * 10), spec(), shuffle=True)
    lengths = [batches.batch(step)["tokens"].shape[1] for step in range(batches.batches)]
    assert sorted(lengths) == [8] * 5 + [16] * 3
    assert batches.mean_length() == pytest.approx(11)


def test_fixed_shapes():
    assert padded_lengths(8) == (8,)
    assert padded_lengths(50) == (8, 16, 24, 32, 48, 50)
    assert padded_lengths(128) == (8, 16, 24, 32, 48, 64, 96, 128)
    assert [batch_for(number, 48) for number in (1, 2, 3, 17, 33, 500)] == [1, 2, 4, 32, 48, 48]


def test_no_example_is_an_input_error():
    with pytest.raises(InputError, match="no examples"):
        ExampleBatches(encoded([]), spec(), shuffle=True)
