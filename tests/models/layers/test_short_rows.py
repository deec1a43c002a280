"""Rows of patches, packed for TPUs: how many share a block, and that layers compute the same of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models import vit
from jaxssl.models.blocks import Blocks
from jaxssl.models.layers import short_rows
from jaxssl.models.layers.short_rows import pack_rows, rows_for_a_block, unpack_rows
from jaxssl.sharding.mesh import Mesh


@pytest.fixture
def on_tpu(monkeypatch):
    monkeypatch.setattr(short_rows, "platform_of_mesh", lambda: "tpu")


@pytest.mark.parametrize(
    ("batch", "length", "count"),
    [(64, 50, 2), (64, 37, 2), (64, 16, 8), (64, 64, 2), (64, 65, 1), (6, 16, 2), (7, 16, 1)],
)
def test_short_rows_fill_a_block_of_128_positions(batch, length, count):
    assert rows_for_a_block(batch, length) == count


def test_every_device_keeps_whole_rows():
    with jax.sharding.use_abstract_mesh(Mesh(2, 2, 1).make(jax.devices()[:4]).abstract_mesh):
        assert rows_for_a_block(8, 16) == 2


def test_rows_become_the_segments_of_a_longer_row(on_tpu):
    rows = jnp.arange(32 * 3 * 2.0).reshape(32, 3, 2)
    packed, segments = pack_rows(rows, dropped=False)
    assert packed.shape == (1, 96, 2)
    np.testing.assert_array_equal(segments[0], np.repeat(np.arange(1, 33), 3))
    np.testing.assert_array_equal(packed[0, 3:6], rows[1])
    np.testing.assert_array_equal(unpack_rows(packed, 32, 3), rows)


def test_rows_stay_as_they_are_under_dropout_and_on_other_platforms(monkeypatch):
    rows = jnp.ones((4, 3, 2))
    assert pack_rows(rows, dropped=False)[0].shape == (4, 3, 2)
    monkeypatch.setattr(short_rows, "platform_of_mesh", lambda: "tpu")
    assert pack_rows(rows, dropped=True)[0].shape == (4, 3, 2)


def test_layers_compute_the_same_of_packed_rows(monkeypatch):
    blocks = Blocks(vit(depth=2, width=16, heads=2), jax.random.key(0))
    states = jax.random.normal(jax.random.key(1), (4, 5, 16))
    apart = blocks(states)
    monkeypatch.setattr(short_rows, "platform_of_mesh", lambda: "tpu")
    np.testing.assert_allclose(blocks(states), apart, atol=2e-6)
