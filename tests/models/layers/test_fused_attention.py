"""Splash attention, interpreted, against the formula; the blocks that rows are split into."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.models.layers import fused_attention
from jaxssl.models.layers.attention import attention
from jaxssl.models.layers.attention_choice import Choice, choices_made
from jaxssl.sharding.mesh import Mesh


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def on_tpus(monkeypatch):
    """The dispatcher believes that the mesh is of TPUs, and Pallas interprets the kernel."""
    interpreted = partial(fused_attention.splash_attention, largest_block=128, interpret=True)
    monkeypatch.setattr("jaxssl.models.layers.attention.splash_attention", interpreted)
    monkeypatch.setattr("jaxssl.models.layers.attention_choice.platform_of_mesh", lambda: "tpu")


@pytest.mark.parametrize("kind", ["causal", "cross"])
def test_splash_is_the_formula_on_a_mesh(kind, monkeypatch):
    """Values and gradients to 1e-5: two blocks, documents, padding, shared key heads, sharded rows."""
    on_tpus(monkeypatch)
    length, key_length = 200, (200 if kind == "causal" else 140)
    lengths = {"queries": length, "keys": key_length, "values": key_length}
    heads = {"queries": 4, "keys": 2, "values": 2}
    parts = [random(2, lengths[n], heads[n], 8, seed=i) for i, n in enumerate(lengths)]
    counts = np.arange(length)
    segments = jnp.asarray(np.stack([1 + (counts > 70), np.where(counts < 150, 1, 0)]))
    theirs = jnp.asarray(np.stack([1 + (counts > 50), 3 * np.ones(length, int)])[:, :key_length])
    form = {"causal": True} if kind == "causal" else {"key_segments": theirs}

    def total(parts, implementation):
        out = attention(*parts, segments, implementation=implementation, **form)
        return (out * random(*out.shape, seed=9)).sum(), out

    mesh = Mesh(2, 1, 2).make(jax.devices()[:4])

    @partial(jax.jit, static_argnums=1)
    def both(parts, implementation):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.value_and_grad(total, has_aux=True)(parts, implementation)

    sharded = jax.device_put(parts, NamedSharding(mesh, PartitionSpec("data", None, "tensor")))
    with choices_made() as made:
        found = both(sharded, "fused")
    assert made == [Choice("splash", "")]
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), found, both(sharded, "xla"))
    if kind == "cross":
        assert np.abs(found[0][1][1]).max() == 0  # no key is of its document


def test_blocks_are_no_longer_than_they_must_be():
    assert [fused_attention.block_of(n, 512) for n in (128, 130, 512, 568, 1024, 2048)] == [
        128, 256, 512, 384, 512, 512,
    ]  # fmt: skip
