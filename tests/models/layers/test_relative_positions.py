"""Ranges of distances against the published list, and biases by distance within documents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.layers.relative_positions import RelativeBiases, buckets_of


def test_ranges_of_both_directions():
    """With 32 ranges up to 128: 8 single distances, then ranges that grow by sqrt(2), on either side."""
    numbers = buckets_of(32, 128, causal=False)
    assert numbers.shape == (257,)
    behind, ahead = numbers[128::-1], numbers[129:]
    assert behind[:8].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    starts = [int(np.flatnonzero(behind == number)[0]) for number in range(8, 16)]
    assert starts == [8, 12, 16, 23, 32, 46, 64, 91]
    assert behind[-1] == 15
    np.testing.assert_array_equal(ahead, behind[1:] + 16)


def test_causal_ranges_are_of_earlier_keys():
    numbers = buckets_of(8, 20, causal=True)
    assert numbers[20:].tolist() == [0] * 21  # later keys, which no query sees
    assert numbers[19::-1].tolist() == [1, 2, 3, 4, 4] + [5] * 3 + [6] * 5 + [7] * 7


@pytest.mark.parametrize("causal", [False, True])
def test_a_bias_depends_on_the_distance_alone(causal):
    biases = RelativeBiases(jax.random.key(0), 3, buckets=8, longest=6, causal=causal, stddev=1.0)
    whole = biases(jnp.arange(12), jnp.arange(12))
    assert whole.shape == (3, 12, 12)
    np.testing.assert_array_equal(whole[:, 1:, 1:], whole[:, :-1, :-1])
    np.testing.assert_array_equal(
        whole[:, 11, :5], whole[:, 11:, :1].repeat(5, 2)[:, 0]
    )  # far ones
    one = biases(jnp.array([[7], [3]]), jnp.arange(12)[None].repeat(2, 0))  # a decoded token
    np.testing.assert_array_equal(one[0, :, 0], whole[:, 7])
    np.testing.assert_array_equal(one[1, :, 0], whole[:, 3])
