"""The bits are as good as random where dropout needs it, and the same on any devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.models.layers.dropout import dropout, key_words, random_bits

SIZE = 1 << 18


def bits(key, shape=(SIZE,)):
    return np.asarray(random_bits(key_words(key), shape))


def kept(key, rate=0.1, shape=(SIZE,)):
    return np.asarray(dropout(jnp.ones(shape), rate, key)) != 0


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5, 0.9])
def test_share_and_scale(rate, key):
    y = np.asarray(dropout(jnp.full((SIZE,), 3.0), rate, key))
    spread = (rate * (1 - rate) / SIZE) ** 0.5
    assert abs((y == 0).mean() - rate) < 4 * spread
    np.testing.assert_allclose(y[y != 0], 3 / (1 - rate), rtol=1e-6)


def test_bytes_are_uniform(key):
    """Chi-square with 255 degrees of freedom: mean 255, deviation 22.6."""
    for seed in range(4):
        for byte in bits(jax.random.fold_in(key, seed)).view(np.uint8).reshape(-1, 4).T:
            counts = np.bincount(byte, minlength=256)
            chi_square = ((counts - SIZE / 256) ** 2 / (SIZE / 256)).sum()
            assert 255 - 5 * 22.6 < chi_square < 255 + 5 * 22.6


@pytest.mark.parametrize("lag", [1, 2, 3, 64, 128, 512, 4096])
def test_neighbours_are_independent(lag, key):
    x = kept(key).astype(float)
    assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 4.5 / SIZE**0.5


def test_keys_are_independent(key):
    raw = [jnp.array(words, jnp.uint32) for words in ((0, 0), (0, 1), (1, 0), (1, 1), (1 << 31, 0))]
    keys = [*raw, *jax.random.split(key, 3), jax.random.fold_in(key, 7), jax.random.key(123)]
    draws = np.stack([kept(k) for k in keys]).astype(float)
    apart = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(apart).max() < 5 / SIZE**0.5
    # Nor is one the other moved along, as it would be if the key were added to the place alone.
    for a, b in ((raw[1], raw[2]), (raw[0], raw[1])):
        for shift in range(1, 5):
            assert (bits(a, (4096,))[shift:] == bits(b, (4096,))[:-shift]).mean() < 0.01


def test_rows_hold_their_share_no_more_and_no_less_evenly_than_chance(key):
    rows = kept(key, 0.1, (2048, 128)).sum(axis=1)
    assert 0.85 < rows.var() / (128 * 0.09) < 1.15  # binomial; deviation of the ratio is 0.03


def test_typed_and_raw_keys_of_every_generator():
    np.testing.assert_array_equal(bits(jax.random.key(7)), bits(jax.random.PRNGKey(7)))
    first, second = jax.random.key(1, impl="rbg"), jax.random.key(2, impl="rbg")
    assert np.corrcoef(kept(first), kept(second))[0, 1] < 0.02
    assert np.abs(np.asarray(key_words(first))).max() > 0


def test_gradient_and_tangent_have_the_mask_of_the_value(key):
    x = jnp.ones((64, 64))

    def f(x):
        return dropout(x, 0.3, key)

    gradient = jax.jit(jax.grad(lambda x: f(x).sum()))(x)
    tangent = jax.jvp(f, (x,), (x,))[1]
    np.testing.assert_array_equal(gradient, f(x))
    np.testing.assert_array_equal(tangent, f(x))


def test_nothing_is_kept_for_the_backward_pass_but_the_key(key):
    _, backward = jax.vjp(lambda x: dropout(x, 0.3, key), jnp.ones(4096))
    assert sum(leaf.size for leaf in jax.tree.leaves(backward)) <= 2


def test_off_and_impossible(key):
    x = jnp.ones(8)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, key) is x
    assert dropout(x.astype(jnp.bfloat16), 0.5, key).dtype == jnp.bfloat16
    for rate in (-0.1, 1.0):
        with pytest.raises(InputError, match=f"{rate} is not in"):
            dropout(x, rate, key)


@pytest.mark.skipif(jax.device_count() < 8, reason="needs eight (simulated) devices")
@pytest.mark.parametrize("spec", [("x",), (None, "y"), ("x", "y"), (("x", "y"),)])
def test_the_same_on_one_device_and_on_eight_without_talk(spec, key):
    x = jax.random.normal(key, (16, 32))
    alone = jax.jit(lambda x: dropout(x, 0.3, key))(x)
    mesh = jax.make_mesh((2, 4), ("x", "y"), axis_types=(AxisType.Auto,) * 2)
    sharding = NamedSharding(mesh, PartitionSpec(*spec))
    program = jax.jit(lambda x: dropout(x, 0.3, key), in_shardings=sharding, out_shardings=sharding)
    np.testing.assert_array_equal(program(x), alone)
    text = program.lower(x).compile().as_text()
    assert not any(
        word in text for word in ("all-gather", "all-reduce", "collective", "all-to-all")
    )
