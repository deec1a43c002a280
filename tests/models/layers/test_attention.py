"""Who sees whom, shared key heads, rows that see nothing, dropout on the weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.layers.attention import attention, visible

SEGMENTS = jnp.array([[1, 1, 1, 2, 2, 2, 0]])


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def qkv(length=7, heads=4, kv_heads=2, size=8):
    shapes = ((1, length, n, size) for n in (heads, kv_heads, kv_heads))
    return [random(*shape, seed=i) for i, shape in enumerate(shapes)]


def test_who_sees_whom():
    pieces = visible(SEGMENTS, causal=False, window=None)[0].astype(int).tolist()
    assert pieces == [[1, 1, 1, 0, 0, 0, 0]] * 3 + [[0, 0, 0, 1, 1, 1, 0]] * 3 + [[0] * 7]
    ones = jnp.ones((1, 4), int)
    assert visible(ones, causal=True, window=None)[0].astype(int).tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 1],
    ]
    near = [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert visible(ones, causal=False, window=1)[0].astype(int).tolist() == near
    assert visible(ones, causal=False, window=jnp.int32(1))[0].astype(int).tolist() == near


def test_grouped_queries_are_repeated_key_heads():
    queries, keys, values = qkv()
    repeated = attention(queries, keys.repeat(2, axis=2), values.repeat(2, axis=2), SEGMENTS)
    np.testing.assert_allclose(attention(queries, keys, values, SEGMENTS), repeated, atol=1e-6)


@pytest.mark.slow
def test_padding_gets_zeros_and_no_gradient():
    def total(parts):
        out = attention(*parts, SEGMENTS)
        return jnp.square(out).sum(), out

    gradients, out = jax.grad(total, has_aux=True)(qkv())
    assert np.abs(out[:, 6]).max() == 0
    for gradient in gradients:
        assert np.isfinite(gradient).all()
        assert np.abs(gradient[:, 6]).max() == 0


def test_large_scores_stay_finite():
    queries, keys, values = qkv()
    out = attention(1e4 * queries, 1e4 * keys, values, SEGMENTS)
    assert np.isfinite(out).all()


def test_bfloat16_scores_are_summed_in_float32():
    queries, keys, values = (x.astype(jnp.bfloat16) for x in qkv())
    out = attention(queries, keys, values, SEGMENTS)
    exact = attention(*(x.astype(jnp.float32) for x in (queries, keys, values)), SEGMENTS)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.03)


def test_dropout_on_weights_keeps_the_mean(key):
    queries, keys, values = qkv()

    @jax.jit
    @jax.vmap
    def dropped(key):
        return attention(queries, keys, values, SEGMENTS, dropout_rate=0.5, key=key)

    draws = dropped(jax.random.split(key, 2000))
    exact = attention(queries, keys, values, SEGMENTS)
    apart = np.abs(draws.mean(axis=0) - exact)
    error = draws.std(axis=0) / 2000**0.5
    assert np.all(apart <= 5 * error + 1e-6)
    assert draws.std() > 0.1


def test_a_prefix_is_seen_by_all_of_its_segment():
    segments = jnp.array([[1, 1, 1, 2, 2, 0]])
    prefix = jnp.array([[1, 1, 0, 1, 0, 1]], bool)
    seen = visible(segments, causal=True, prefix=prefix, window=None)[0].astype(int).tolist()
    assert seen == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]
