import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.losses.blockwise import token_blocks


@pytest.fixture(autouse=True)
def small_groups(monkeypatch):
    """So that a few tokens already are sorted in several groups."""
    monkeypatch.setattr(token_blocks, "SMALLEST_GROUP", 8)


def numbered(tokens, weights):
    """Hidden states and targets that are the number of their token."""
    numbers = jnp.arange(tokens)
    return numbers.astype(float)[:, None], numbers, jnp.asarray(weights, jnp.float32)


def test_blocks_without_weight_come_last_and_the_order_is_restored():
    arrays = numbered(64, np.arange(64) % 4 == 0)
    blocks, order = token_blocks.split_into_blocks(16, *arrays)
    assert (blocks.weights > 0).any(axis=1).tolist() == [True, False, False, False]
    rows = token_blocks.join_blocks((blocks.hidden, blocks.targets), order, 64)
    used = arrays[2] > 0
    np.testing.assert_array_equal(rows[0][used, 0], jnp.arange(64.0)[used])
    np.testing.assert_array_equal(rows[1], jnp.where(used, jnp.arange(64), 0))


@pytest.mark.parametrize(
    ("tokens", "block"), [(1, 1), (13, 5), (24, 7), (40, 6), (40, 16), (64, 64)]
)
def test_joined_blocks_are_the_tokens(tokens, block):
    arrays = numbered(tokens, np.ones(tokens))
    words = jnp.stack([jnp.arange(tokens), jnp.arange(tokens)], axis=1).astype(jnp.uint32)
    blocks, order = token_blocks.split_into_blocks(block, *arrays, words)
    hidden, targets, _, keys = token_blocks.join_blocks(blocks, order, tokens)
    np.testing.assert_array_equal(hidden, arrays[0])
    np.testing.assert_array_equal(targets, arrays[1])
    np.testing.assert_array_equal(keys, words)
    assert (blocks.weights > 0).any(axis=1).all()  # no block is padding alone


def test_every_block_has_tokens_of_every_group():
    """Groups of 8 of 32 tokens, sharded over devices, say: none of them is ever without work."""
    blocks, _ = token_blocks.split_into_blocks(8, *numbered(32, np.ones(32)))
    groups = blocks.targets // 8
    assert [sorted(set(row)) for row in groups.tolist()] == [[0, 1, 2, 3]] * 4


def test_what_has_weight_zero_is_cleared():
    hidden, targets, _ = numbered(4, np.ones(4))
    weights = jnp.array([1.0, 0.0, 1.0, 0.0])
    blocks, order = token_blocks.split_into_blocks(4, hidden * jnp.nan, targets - 9, weights)
    assert order is None
    np.testing.assert_array_equal(jnp.isnan(blocks.hidden[0, :, 0]), weights > 0)
    np.testing.assert_array_equal(blocks.targets[0], [-9, 0, -7, 0])


def test_default_block_is_bounded_by_the_kernel_and_by_its_logits():
    assert token_blocks.default_block(768, 50_257) == 512
    assert token_blocks.default_block(768, 50_257, jnp.bfloat16) == 1024
    assert token_blocks.default_block(64, 1 << 18, jnp.bfloat16) == 256
    assert token_blocks.default_block(64, 50_257) == 256
    assert token_blocks.default_block(8192, 1 << 20) == (1 << 28) // (1 << 20)
    assert token_blocks.default_block(8192, 1 << 24) == 128
