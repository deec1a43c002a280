"""Orders: every row once an epoch, mixtures in proportion, and any range without what precedes it."""

import numpy as np
import pytest

from jaxssl.data.prepared.order import InOrder, Sampled, Shuffled


def test_in_order_ends_at_the_last_row():
    order = InOrder(7)
    assert order.ids(2, 5).tolist() == [2, 3, 4]
    assert order.ids(5, 9).tolist() == [5, 6]
    assert order.ids(8, 9).tolist() == []
    assert [order.batches(batch) for batch in (3, 7, 8)] == [3, 1, 1]
    assert not order.endless


def test_any_first_part_of_a_sampled_order_is_an_even_sample():
    """Of 10,000 rows, 1,000 hypergeometric ones: their mean is within 5 standard errors."""
    order = Sampled(10_000)
    assert sorted(order.ids(0, 10_000)) == list(range(10_000))
    assert abs(order.ids(0, 1_000).mean() - 4_999.5) < 5 * 10_000 / 12**0.5 * (0.9 / 1_000) ** 0.5
    np.testing.assert_array_equal(order.ids(3, 9), Sampled(10_000).ids(0, 10_000)[3:9])
    assert order.ids(0, 5).dtype == np.int64
    assert [Sampled(7).batches(batch) for batch in (3, 7, 8)] == [3, 1, 1]
    assert len(Sampled(7).ids(5, 9)) == 2
    assert not order.endless


def test_epochs_are_permutations_of_their_own():
    order = Shuffled([9], (), seed=1)
    epochs = [order.ids(9 * epoch, 9 * epoch + 9).tolist() for epoch in range(4)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert order.endless
    assert [order.batches(batch) for batch in (2, 9, 10)] == [4, 1, 1]


def test_a_range_does_not_depend_on_what_was_asked_before():
    order = Shuffled([5, 6], (1.0, 2.0), seed=1)
    whole = order.ids(0, 40)
    np.testing.assert_array_equal(order.ids(13, 29), whole[13:29])
    np.testing.assert_array_equal(Shuffled([5, 6], (1.0, 2.0), seed=1).ids(13, 29), whole[13:29])
    assert whole.dtype == np.int64


def test_another_seed_is_another_order():
    orders = [tuple(Shuffled([50], (), seed=seed).ids(0, 50)) for seed in range(5)]
    assert len(set(orders)) == 5


@pytest.mark.parametrize(
    ("weights", "share"), [((1.0, 3.0), 0.25), ((), 5 / 25), ((3.0, 1.0), 0.75)]
)
def test_a_mixture_has_its_shares_over_any_range(weights, share):
    order = Shuffled([5, 20], weights, seed=2)
    for start in (0, 7, 1000):
        ids = order.ids(start, start + 40)
        assert abs((ids < 5).sum() - 40 * share) <= 1
    first = order.ids(0, 200)
    first = first[first < 5][:25].reshape(-1, 5)
    assert (np.sort(first) == np.arange(5)).all()  # each set has epochs of its own
