"""Limits by hand, the distribution of many draws, and keys of rows and tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from jaxssl.errors import InputError
from jaxssl.pretrained.generation.sampling import (
    Sampling,
    choose,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    limited,
)

SHARES = np.array([[0.5, 0.2, 0.15, 0.1, 0.05], [0.1, 0.1, 0.2, 0.3, 0.3]])
LOGITS = jnp.log(jnp.asarray(SHARES, jnp.float32))


def kept(logits):
    return [np.flatnonzero(np.isfinite(row)).tolist() for row in np.asarray(logits)]


def test_limits_by_hand():
    assert kept(keep_top_k(LOGITS, 2)) == [[0, 1], [3, 4]]
    assert kept(keep_top_k(LOGITS, 1)) == [[0], [3, 4]]  # of two equal ones both stay
    assert kept(keep_top_k(LOGITS, 9)) == [[0, 1, 2, 3, 4]] * 2
    assert kept(keep_top_p(LOGITS, 0.65)) == [[0, 1], [2, 3, 4]]
    assert kept(keep_top_p(LOGITS, 0.01)) == [[0], [3, 4]]
    assert kept(keep_top_p(LOGITS, 0.84)) == [[0, 1, 2], [0, 1, 2, 3, 4]]
    assert kept(keep_min_p(LOGITS, 0.25)) == [[0, 1, 2], [0, 1, 2, 3, 4]]
    assert kept(keep_min_p(LOGITS, 0.5)) == [[0], [2, 3, 4]]


def test_limits_follow_the_temperature_in_the_order_of_transformers():
    """At temperature 1/2 shares are squared: 0.25, 0.04, 0.0225, 0.01, 0.0025 of 0.325."""
    found = limited(Sampling(temperature=0.5, top_k=4, top_p=0.9, min_p=0.1), LOGITS)
    np.testing.assert_allclose(found[0, :2], 2 * LOGITS[0, :2], rtol=1e-6)
    assert kept(found)[0] == [0, 1]  # top_p keeps three, and 0.0225 < 0.1 * 0.25
    assert kept(limited(Sampling(), LOGITS)) == [[0, 1, 2, 3, 4]] * 2


def test_the_distribution_of_draws():
    """Pearson's statistic of 20,000 draws stays below the value that it exceeds once in 1,000 times."""
    draws, number = 20_000, jnp.uint32(3)
    sampling = Sampling(temperature=0.7, top_k=4)
    logits = jnp.broadcast_to(LOGITS[:1], (draws, 5))
    key, rows = jax.random.key(5), jnp.arange(draws, dtype=jnp.uint32)
    tokens = jax.jit(choose, static_argnums=0)(sampling, key, rows, number, logits)
    counts = np.bincount(tokens, minlength=5)
    expected = SHARES[0] ** (1 / 0.7) * [1, 1, 1, 1, 0]
    expected *= draws / expected.sum()
    assert counts[4] == 0
    statistic = ((counts - expected)[:4] ** 2 / expected[:4]).sum()
    assert statistic < chi2.isf(1e-3, df=3)


@pytest.mark.slow
def test_a_row_draws_the_same_beside_others_and_anew_for_every_token():
    key, logits = jax.random.key(0), jnp.zeros((6, 1000))

    def draw(rows, number):
        rows = jnp.array(rows, jnp.uint32)
        found = choose(Sampling(), key, rows, jnp.uint32(number), logits[: len(rows)])
        return found.tolist()

    every = draw([0, 1, 2, 3, 4, 5], 0)
    assert len(set(every)) == 6
    assert draw([4], 0) == every[4:5]
    assert draw([4], 1) != every[4:5]


def test_temperature_0_takes_the_most_probable():
    found = choose(Sampling(temperature=0.0), jax.random.key(0), jnp.arange(2), 0, LOGITS)
    assert found.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ({"temperature": -1.0}, "temperature=-1.0 must be at least 0"),
        ({"top_k": 0}, "top_k=0 must be at least 1"),
        ({"top_p": 0.0}, "top_p=0.0 must be above 0 and at most 1"),
        ({"min_p": 1.5}, "min_p=1.5 must be at least 0 and at most 1"),
    ],
)
def test_what_is_refused(field, line):
    with pytest.raises(InputError, match=line):
        Sampling(**field)
