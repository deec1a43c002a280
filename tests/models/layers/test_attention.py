"""Who sees whom, shared key heads, rows that see nothing, dropout on the weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.models.layers import fused_attention
from jaxssl.models.layers.attention import attention, visible
from jaxssl.models.layers.attention_choice import Choice, choices_made, choose
from jaxssl.models.layers.rotary import rotary_angles, rotate
from jaxssl.sharding.mesh import Mesh
from tests.models import reference

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


@pytest.mark.parametrize("base", [10_000.0, 160_000.0])
def test_rotation_is_that_of_complex_numbers(base):
    x, positions = random(1, 5, 2, 8), jnp.array([[0, 1, 2, 0, 7]])
    angles = rotary_angles(positions, 8, base)
    turned = rotate(x, jnp.cos(angles), jnp.sin(angles))
    for place, position in enumerate(positions[0].tolist()):
        for head in range(2):
            slow = reference.turn(np.asarray(x[0, place, head], np.float64), position, base)
            np.testing.assert_allclose(turned[0, place, head], slow, atol=1e-5)


def test_products_of_rotated_vectors_depend_on_distance_alone():
    x, y = random(8), random(8, seed=1)

    def product(first, second):
        angles = rotary_angles(jnp.array([[first, second]]), 8, 100.0)
        pair = rotate(jnp.stack([x, y])[None, :, None], jnp.cos(angles), jnp.sin(angles))
        return float(pair[0, 0, 0] @ pair[0, 1, 0])

    assert product(3, 5) == pytest.approx(product(10, 12), abs=1e-4)
    assert product(3, 5) != pytest.approx(product(3, 6), abs=1e-2)


def on_tpus(monkeypatch):
    """The dispatcher believes that the mesh is of TPUs, and Pallas interprets the kernel."""
    interpreted = partial(fused_attention.splash_attention, largest_block=128, interpret=True)
    monkeypatch.setattr("jaxssl.models.layers.attention.splash_attention", interpreted)
    monkeypatch.setattr("jaxssl.models.layers.attention_choice.platform_of_mesh", lambda: "tpu")


@pytest.mark.parametrize("kind", ["causal", "cross"])
def test_splash_is_the_formula_on_a_mesh(kind, monkeypatch):
    """Values and gradients to 1e-5: two blocks, documents, padding, shared key heads, rows and heads cut."""
    on_tpus(monkeypatch)
    length, places = 200, (200 if kind == "causal" else 140)
    places_of = {"queries": length, "keys": places, "values": places}
    heads = {"queries": 4, "keys": 2, "values": 2}
    parts = [random(2, places_of[n], heads[n], 8, seed=i) for i, n in enumerate(places_of)]
    counts = np.arange(length)
    segments = jnp.asarray(np.stack([1 + (counts > 70), np.where(counts < 150, 1, 0)]))
    theirs = jnp.asarray(np.stack([1 + (counts > 50), 3 * np.ones(length, int)])[:, :places])
    form = {"causal": True} if kind == "causal" else {"key_segments": theirs}

    def total(parts, implementation):
        out = attention(*parts, segments, implementation=implementation, **form)
        return (out * random(*out.shape, seed=9)).sum(), out

    mesh = Mesh(2, 1, 2).make(jax.devices()[:4])

    @partial(jax.jit, static_argnums=1)
    def both(parts, implementation):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.value_and_grad(total, has_aux=True)(parts, implementation)

    cut = jax.device_put(parts, NamedSharding(mesh, PartitionSpec("data", None, "tensor")))
    with choices_made() as made:
        found = both(cut, "fused")
    assert made == [Choice("splash", "")]
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), found, both(cut, "xla"))
    if kind == "cross":
        assert np.abs(found[0][1][1]).max() == 0  # no key is of its document


@pytest.mark.parametrize(
    ("platform", "shape", "changes", "said"),
    [
        ("tpu", (2, 128, 4, 64), {}, ""),
        ("gpu", (2, 128, 4, 64), {}, ""),
        ("cpu", (2, 128, 4, 64), {}, "no fused kernel for cpu"),
        ("tpu", (2, 64, 4, 64), {}, "64 places are fewer than the 128"),
        ("tpu", (2, 128, 4, 36), {}, "heads of 36 numbers"),
        ("gpu", (2, 128, 4, 256), {}, "wider than the 128"),
        ("gpu", (2, 128, 4, 64), {"dtype": jnp.float32}, "cuDNN takes bfloat16"),
        ("tpu", (2, 128, 4, 64), {"dropped": True}, "attention_dropout 0 leaves it out"),
        ("tpu", (2, 128, 4, 64), {"windowed": True}, "the window differs"),
        ("tpu", (2, 128, 4, 64), {"prefixed": True}, "the prefix differs"),
        ("tpu", (3, 128, 4, 64), {}, "3 rows do not divide over 2 devices of data"),
        ("tpu", (2, 128, 3, 64), {}, "3 heads do not divide over 2 devices of tensor"),
    ],
)
def test_what_a_kernel_cannot_do_is_said(platform, shape, changes, said, monkeypatch):
    monkeypatch.setattr("jaxssl.models.layers.attention_choice.platform_of_mesh", lambda: platform)
    changes = {"dtype": jnp.bfloat16, "dropped": False, "windowed": False, **changes}
    array = jax.ShapeDtypeStruct(shape, changes.pop("dtype"))
    wanted = {"prefixed": False, **changes}
    with jax.sharding.use_abstract_mesh(Mesh(2, 1, 2).make(jax.devices()[:4]).abstract_mesh):
        assert said in choose("auto", array, array, **wanted).reason
        assert choose("xla", array, array, **wanted).kernel == "xla"
        if said:
            with pytest.raises(InputError, match=f"attention 'fused': .*{said}.*pass 'auto'"):
                choose("fused", array, array, **wanted)
        else:
            kernel = {"tpu": "splash", "gpu": "cudnn"}[platform]
            assert choose("fused", array, array, **wanted) == Choice(kernel, "")


def test_blocks_are_no_longer_than_they_must_be():
    assert [fused_attention.block_of(n, 512) for n in (128, 130, 512, 568, 1024, 2048)] == [
        128, 256, 512, 384, 512, 512,
    ]  # fmt: skip
