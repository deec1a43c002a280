"""Metrics that add up, weights that add up to one, and which tokens are predicted."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.objectives.batches.batch import (
    Ratio,
    Separation,
    SumOfRatios,
    Vocabulary,
    following_tokens,
    separation,
    share_evenly,
    token_metrics,
)
from jaxssl.training.metrics import averages
from tests.tiny import BEGIN, END, PAD, tiny_spec


def test_a_vocabulary_has_the_tables_of_the_rows():
    spec = tiny_spec(vocab_size=8)
    plain, counted = Vocabulary.of(spec), Vocabulary.of(spec, counted=True)
    assert plain.frequency is None
    np.testing.assert_allclose(counted.frequency, [0] * 5 + [1 / 3] * 3)
    np.testing.assert_array_equal(plain.ordinary, [5, 6, 7])
    assert (plain.pad, plain.begin, plain.end) == (PAD, BEGIN, END)


def test_weights_add_up_to_one():
    weights, total = share_evenly(jnp.array([[True, False], [True, True]]))
    np.testing.assert_allclose(weights, np.array([[1, 0], [1, 1]]) / 3)
    assert float(total) == 3.0
    weights, total = share_evenly(jnp.zeros(4, bool))
    assert not np.asarray(weights).any()
    assert float(total) == 0.0


def test_padding_and_new_documents_are_not_predicted():
    tokens = jnp.array([[BEGIN, 7, END, BEGIN, 8, PAD]])
    targets, predicted = following_tokens(tokens, Vocabulary.of(tiny_spec()))
    np.testing.assert_array_equal(targets, [[7, END, BEGIN, 8, PAD, PAD]])
    np.testing.assert_array_equal(predicted, [[1, 1, 0, 1, 0, 0]])


def test_bits_per_byte():
    """Two of the four tokens of a batch: 3 nats of 6 bytes, one of them right."""
    weights, lengths = jnp.array([0.25, 0.25]), jnp.array([2, 4])
    sums = token_metrics(jnp.float32(0.75), jnp.float32(0.25), weights, lengths, jnp.float32(4.0))
    numbers = {name: ratio.number() for name, ratio in jax.device_get(sums).items()}
    expected = {"loss": 1.5, "accuracy": 0.5, "bits_per_byte": 3 / np.log(2) / 6}
    assert numbers == pytest.approx(expected, rel=1e-6)
    assert math.isnan(Ratio(np.float32(1.0), np.float32(0.0)).number())  # of nothing


def test_terms_of_a_loss_have_weights_of_their_own():
    """(2 + 4) / 3 + 10 (1 + 2) / (5 + 1), which neither batch has. A term of nothing is left out."""

    def part(*numbers):
        first, weight, second, other = map(jnp.float32, numbers)
        return SumOfRatios.of((1.0, Ratio(first, weight)), (10.0, Ratio(second, other)))

    parts = [part(2, 1, 1, 5), part(4, 2, 2, 1)]
    assert averages([{"loss": part} for part in jax.device_get(parts)])["loss"] == pytest.approx(
        7.0
    )
    assert SumOfRatios(np.array([3.0, 0.0]), np.array([2.0, 0.0])).number() == 1.5
    assert math.isnan(SumOfRatios(np.zeros(2), np.zeros(2)).number())


def test_the_area_is_that_of_all_pairs_and_adds_up():
    random = np.random.default_rng(0)
    is_true, counted = random.random((8, 64)) < 0.2, random.random((8, 64)) < 0.9
    scores = np.float32(random.normal(size=(8, 64)) + is_true)
    count = jax.jit(separation)
    parts = [
        count(*(a[rows] for a in (scores, is_true, counted))) for rows in (slice(4), slice(4, 8))
    ]
    area = averages([{"auc": part} for part in jax.device_get(parts)])["auc"]
    pairs = scores[is_true & counted][:, None] - scores[~is_true & counted][None]
    assert area == pytest.approx((np.sign(pairs) / 2 + 0.5).mean(), abs=1e-3)
    sure = count(np.where(is_true, 1e30, -1e9).astype(np.float32), is_true, counted)
    assert averages([{"auc": jax.device_get(sure)}])["auc"] == 1.0
    nothing = {
        "precision": Ratio(np.float32(0), np.float32(0)),
        "auc": Separation(np.zeros(4), np.ones(4)),
    }
    assert all(math.isnan(value) for value in averages([nothing]).values())
