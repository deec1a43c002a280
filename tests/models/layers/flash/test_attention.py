"""The Pallas kernel, interpreted, against the formula, on a mesh and in every combination; rows in blocks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.models.layers.attention import attention
from jaxssl.models.layers.attention_choice import Choice, choices_made
from jaxssl.models.layers.flash import attention as flash
from jaxssl.models.layers.flash import gradient
from jaxssl.models.layers.fused_attention import First, Rows, make_shared
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.layers.rotary import make_rotation
from jaxssl.sharding.mesh import Mesh


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def on_tpus(monkeypatch):
    """The dispatcher believes that the mesh is of TPUs, and Pallas interprets the kernel."""
    interpreted = partial(flash.flash_attention, largest_block=128, interpret=True)
    monkeypatch.setattr("jaxssl.models.layers.flash.attention.flash_attention", interpreted)
    monkeypatch.setattr("jaxssl.models.layers.attention_choice.platform_of_mesh", lambda: "tpu")


COUNTS = np.arange(200)
# Two rows of two blocks: documents that end inside a block, padding in the second row
SEGMENTS = np.stack([1 + (COUNTS > 70), np.where(COUNTS < 150, 1 + (COUNTS > 90), 0)])
COMBINATIONS = {
    "plain": {},
    "dropout": {"dropout_rate": 0.3},
    "causal, dropout, shared keys": {"causal": True, "dropout_rate": 0.1},
    "prefix, dropout": {"causal": True, "prefix": True, "dropout_rate": 0.1},
    "window, dropout": {"window": 20, "dropout_rate": 0.1},
    "causal window": {"causal": True, "window": 50},
    "cross, dropout": {"key_length": 140, "dropout_rate": 0.2},
    "wide heads, window": {"head_dim": 136, "heads": 2, "window": 150},
    "one head of a tile": {"heads": 1, "causal": True},
    "rotary, dropout": {"rotary": (10_000.0,), "dropout_rate": 0.1},
    "rotary of local layers, 32 wide": {"rotary": (160_000.0, 100.0), "head_dim": 32},
    "rotary, padded heads": {"rotary": (100.0,), "head_dim": 40, "causal": True},
    "rotary, heads of a tile": {"rotary": (1_000.0,), "head_dim": 128, "heads": 2},
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "window, dropout" else pytest.mark.slow)
        for name in COMBINATIONS
    ],
)
def test_the_kernel_is_the_formula_on_a_mesh(name, monkeypatch):
    """Values and gradients to 1e-5, with the same dropout: the bits do not depend on what computes them."""
    on_tpus(monkeypatch)
    form = dict(COMBINATIONS[name])
    heads, head_dim = form.pop("heads", 4), form.pop("head_dim", 64)
    key_length = form.pop("key_length", 200)
    kv_heads = heads // 2 if "shared" in name else heads
    parts = (
        random(2, 200, heads, head_dim, seed=1),
        random(2, key_length, kv_heads, head_dim, seed=2),
        random(2, key_length, kv_heads, head_dim, seed=3),
    )
    segments = jnp.asarray(SEGMENTS)
    if key_length != 200:
        form["key_segments"] = jnp.asarray(SEGMENTS[::-1, :key_length]) * 2  # document 1 has no key
    if "prefix" in form:
        form["prefix"] = jnp.asarray(np.stack([COUNTS < 40, (COUNTS > 91) & (COUNTS < 130)]))
    if "window" in form:  # it may be traced, where layers differ
        form["window"] = jnp.int32(form["window"])
    if bases := form.pop("rotary", ()):
        rotation = make_rotation(positions_of(segments), head_dim, bases)
        form["rotation"] = rotation._replace(is_local=jnp.asarray(True) if bases[1:] else None)
    if "dropout_rate" in form:
        form["key"] = jax.random.key(7)

    def total(parts, form, implementation):
        out = attention(*parts, segments, implementation=implementation, **form)
        return (out * random(*out.shape, seed=9)).sum(), out

    static = {
        name: form.pop(name) for name in ("causal", "dropout_rate", "rotation") if name in form
    }
    mesh = Mesh(2, 1, 2).make(jax.devices()[:4]) if heads % 2 == 0 else None

    @partial(jax.jit, static_argnums=2)
    def both(parts, form, implementation):
        if mesh is None:
            return jax.value_and_grad(total, has_aux=True)(parts, static | form, implementation)
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.value_and_grad(total, has_aux=True)(parts, static | form, implementation)

    if mesh is None:
        monkeypatch.setattr("jax.device_count", lambda: 1)
    elif kv_heads % 2 == 0:
        parts = jax.device_put(parts, NamedSharding(mesh, PartitionSpec("data", None, "tensor")))
    with choices_made() as made:
        (_, out), gradients = both(parts, form, "fused")
    assert made == [Choice("flash", "")]
    (_, wanted), of_formula = both(parts, form, "xla")
    jax.tree.map(
        partial(np.testing.assert_allclose, atol=1e-5), (out, gradients), (wanted, of_formula)
    )


def test_a_query_that_sees_nothing_mixes_nothing(monkeypatch):
    """Padding, and a document of which the other sequence has no key: zeros, and no gradient."""
    monkeypatch.setattr("jax.device_count", lambda: 1)
    on_tpus(monkeypatch)
    parts = [random(1, 128, 2, 64, seed=i) for i in range(3)]
    segments = jnp.asarray(np.repeat([[1, 2, 0]], [50, 50, 28], axis=1))
    theirs = jnp.where(segments == 2, 3, segments)

    def mixed(*parts):
        return attention(*parts, segments, key_segments=theirs, implementation="fused")

    out, pull_back = jax.vjp(jax.jit(mixed), *parts)
    assert np.abs(out[0, :50]).min() > 0
    assert np.abs(out[0, 50:]).max() == 0
    of_queries, of_keys, of_values = pull_back(jnp.ones_like(out))
    assert np.abs(of_queries[0, 50:]).max() == 0
    assert max(np.abs(of_keys[0, 50:]).max(), np.abs(of_values[0, 50:]).max()) == 0


@pytest.mark.slow
def test_long_rows_are_cut_for_the_gradient(monkeypatch):
    """The gradient of the queries stays on the chip for so many of them; longer rows give the same."""
    parts = [random(1, 512, 2, 64, seed=i) for i in range(3)]
    segments = jnp.asarray(np.repeat([[1, 2, 3]], [200, 100, 212], axis=1))
    rows, shared = Rows(segments, segments, None), make_shared(None, jax.random.key(1))

    def total(*parts):
        out = flash.flash_attention(
            *parts, rows, shared, First(0, 0, 2), causal=True, dropout_rate=0.1, bases=(100.0,),
            largest_block=128, interpret=True,
        )  # fmt: skip
        return (out * random(*out.shape, seed=9)).sum()

    whole = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*parts)
    monkeypatch.setattr(gradient, "HELD", 256 * 128 * 12)
    cut = jax.jit(jax.grad(lambda *parts: total(*parts), argnums=(0, 1, 2)))(*parts)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), cut, whole)


def test_blocks_are_no_longer_than_they_must_be():
    assert [flash.block_of(n, 512) for n in (128, 130, 512, 568, 1024, 2048)] == [
        128, 256, 512, 384, 512, 512,
    ]  # fmt: skip
