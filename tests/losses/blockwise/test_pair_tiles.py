import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.blockwise import pair_tiles
from jaxssl.losses.blockwise.pair_tiles import RunningLogSum, TileOptions
from jaxssl.losses.precision import NOTHING
from tests.losses.blockwise.pairs import example


def test_a_running_sum_is_the_logarithm_of_all():
    logits = jnp.array([[100.0, -3.0, 5.0, 2.0], [1.0, 1.0, 200.0, 1.0]])
    running = RunningLogSum(jnp.full(2, NOTHING), jnp.zeros(2))
    for tile in (logits[:, :1], logits[:, 1:]):
        running = running.add(tile, axis=1)
    np.testing.assert_allclose(running.log(), [100.0, 200.0], rtol=1e-6)
    columns = RunningLogSum(jnp.full(4, NOTHING), jnp.zeros(4)).add(logits, axis=0)
    expected = np.log(np.exp(np.float64(logits)).sum(axis=0))
    np.testing.assert_allclose(columns.log(), expected, rtol=1e-6)
    nothing = RunningLogSum(jnp.full(2, NOTHING), jnp.zeros(2)).log()
    assert jnp.isfinite(nothing).all()
    assert (nothing < -1e29).all()


def test_blocks_are_padded_and_joined():
    array = jnp.arange(10.0).reshape(5, 2)
    blocks = pair_tiles.to_blocks(2, array)
    assert blocks.shape == (3, 2, 2)
    assert (blocks[2, 1] == 0).all()
    np.testing.assert_array_equal(pair_tiles.from_blocks(blocks, 5), array)


@pytest.mark.parametrize(("is_same", "step"), [(True, 0), (True, 1), (False, 0)])
def test_a_row_is_not_paired_with_itself_on_its_own_device(is_same, step):
    a, _, weights = example(5)
    options = TileOptions(5, None, is_same, False)
    rows = pair_tiles.row_blocks(5, a, weights, weights)
    rows = pair_tiles.RowBlock(*(array[0] for array in rows))
    columns = pair_tiles.columns_of(a, weights, weights, jnp.zeros(()))
    allowed = pair_tiles.allowed_pairs(options, jnp.int32(step), rows, columns)
    expected = np.outer(weights > 0, weights > 0)
    if is_same and step == 0:
        np.fill_diagonal(expected, False)
    np.testing.assert_array_equal(allowed, expected)


def test_blocks_without_weight_are_skipped():
    a, _, _ = example(6)
    weights = jnp.array([1.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    blocks = pair_tiles.row_blocks(2, a, weights, weights)
    add = lambda count, block: (count + 1, block[1] + 1)  # noqa: E731
    count, states = pair_tiles.scan_blocks(add, jnp.int32(0), blocks, jnp.zeros(3, jnp.int32))
    assert count == 2
    np.testing.assert_array_equal(states, [1, 0, 1])


@pytest.mark.parametrize("block", [2, 7])
def test_gradients_are_products_with_the_derivatives(block):
    """Of any matrix of derivatives, here that of random numbers, as by matrix products."""
    a, b, weights = example()
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(8, 7)), jnp.float32)

    def derivative(_, rows, columns):
        cosines = pair_tiles.similarities(rows, columns)
        is_pair = pair_tiles.allowed_pairs(options, jnp.int32(0), rows, columns)
        return cosines, jnp.where(is_pair, matrix[rows.numbers], 0.0)

    options = TileOptions(block, None, False, False)
    to_a, to_b, to_scale, to_bias = pair_tiles.pair_gradients(
        options,
        derivative,
        pair_tiles.row_blocks(block, a, weights, weights),
        pair_tiles.columns_of(b, weights, weights, jnp.zeros(())),
        (jnp.zeros(b.shape), jnp.zeros(()), jnp.zeros(())),
    )
    used = jnp.outer(weights > 0, weights > 0) * matrix[:7]
    np.testing.assert_allclose(pair_tiles.from_blocks(to_a, 7), used @ b, atol=1e-5)
    np.testing.assert_allclose(to_b, used.T @ a, atol=1e-5)
    np.testing.assert_allclose(to_scale, (used * (a @ b.T)).sum(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_bias, used.sum(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1e-9, 1e9])
def test_derivatives_of_any_size_fit_into_float16(size):
    """Weights of a large batch were rounded to 0, and large ones to infinity."""
    narrow, factor = pair_tiles._narrowed(jnp.array([[size, -size / 2]]), jnp.float16)
    assert narrow.dtype == jnp.float16
    np.testing.assert_allclose(narrow.astype(jnp.float32) * factor, [[size, -size / 2]], rtol=1e-3)
    assert pair_tiles._narrowed(jnp.ones((1, 1)), jnp.bfloat16)[1] == 1.0
