"""Blocks that are skipped hold no visible pair; dropout of a block is that of the whole array."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.layers.attention import visible
from jaxssl.models.layers.dropout import dropout, key_words
from jaxssl.models.layers.flash.blocks import (
    Options,
    dropped_in_block,
    spans,
    touching,
    visible_in_block,
)

BLOCK, LENGTH, WINDOW = 128, 512, 60


def options(**changes):
    plain = {"causal": False, "prefixed": False, "windowed": False, "rate": 0.0, "turned": 0}
    return Options(
        heads=4, head_dim=64, lengths=(LENGTH, LENGTH), blocks=(BLOCK, BLOCK), interpret=True,
        **{**plain, **changes},
    )  # fmt: skip


def packed(seed):
    """Documents one after another, and padding."""
    random = np.random.default_rng(seed)
    ends = np.sort(random.choice(np.arange(1, LENGTH), 6, replace=False))
    segments = 1 + np.searchsorted(ends, np.arange(LENGTH), side="right")
    return np.where(np.arange(LENGTH) >= ends[-1], 0, segments)


SEGMENTS = jnp.asarray(np.stack([packed(seed) for seed in range(8)]))
KINDS = [{}, {"causal": True}, {"windowed": True}, {"causal": True, "windowed": True}]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_exactly_the_blocks_with_a_visible_pair_are_visited(kind):
    form = options(**kind)
    window = jnp.int32(WINDOW) if form.windowed else None
    touches = np.asarray(
        touching(SEGMENTS, SEGMENTS, form.blocks, causal=form.causal, window=window)
    )
    seen = np.asarray(
        visible(SEGMENTS, causal=form.causal, window=WINDOW if form.windowed else None)
    )
    pairs = seen.reshape(8, LENGTH // BLOCK, BLOCK, LENGTH // BLOCK, BLOCK).any(axis=(2, 4))
    assert not (pairs & ~touches).any()
    if not form.windowed:  # a window and a document may both touch a block where no pair has both
        assert (touches == pairs).all()
    first, last, longest = (np.asarray(x) for x in spans(jnp.asarray(touches)))
    for row, block in np.ndindex(first.shape):
        visited = np.flatnonzero(touches[row, block])
        ends = (visited[0], visited[-1]) if len(visited) else (0, -1)
        assert (first[row, block], last[row, block]) == ends
    assert longest == (last - first + 1).max()


@pytest.mark.parametrize("kind", [*KINDS, {"causal": True, "prefixed": True}], ids=str)
def test_what_is_visible_in_a_block(kind):
    form, row = options(**kind), SEGMENTS[3]
    prefix = np.arange(LENGTH) % 7 == 0
    at, keys_at = 256, 128
    seen = visible_in_block(
        form,
        jnp.asarray([WINDOW, 0, 0, 0, 0]),
        jnp.where(row == 0, -1, row)[None, at : at + BLOCK],
        (2 * row + prefix)[None, keys_at : keys_at + BLOCK],
        jnp.int32(at),
        jnp.int32(keys_at),
    )
    whole = visible(
        row[None],
        causal=form.causal,
        prefix=jnp.asarray(prefix)[None] if form.prefixed else None,
        window=WINDOW if form.windowed else None,
    )[0]
    assert (whole[at : at + BLOCK, keys_at : keys_at + BLOCK] == np.asarray(seen).T).all()
    assert np.asarray(seen).any()


def test_dropout_of_a_block_is_that_of_the_whole_array():
    key, rate = jax.random.key(5), 0.3
    whole = dropout(jnp.ones((3, 4, LENGTH, LENGTH)), rate, key) == 0
    words = jax.lax.bitcast_convert_type(key_words(key), jnp.int32)
    row_here, first_row, head_here, first_head = 1, 1, 1, 2
    scalars = jnp.concatenate([jnp.asarray([0, first_row, first_head], jnp.int32), words])
    dropped = dropped_in_block(
        options(rate=rate), scalars, row_here, head_here, jnp.int32(128), jnp.int32(384)
    )
    assert (whole[2, 3, 128:256, 384:512] == np.asarray(dropped).T).all()
    assert abs(np.asarray(dropped).mean() - rate) < 0.02
