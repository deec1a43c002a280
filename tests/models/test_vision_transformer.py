"""Vision transformers: positions that travel with patches, other sizes of images, fields that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models import vision_transformer
from jaxssl.models.layers.patches import resize_positions, sine_positions, split_patches
from jaxssl.models.plain import to_dict
from jaxssl.models.recipes import vit
from jaxssl.models.vision_transformer import VisionTransformerConfig, check_reads_patches
from jaxssl.sharding.layout import axes_of, shardings
from jaxssl.sharding.mesh import Mesh
from tests.models.vision_reference import images, moved

LEARNED = {"positions": "learned", "positions_size": (8, 12)}


def small(width=8, **changes):
    return VisionTransformerConfig(vit(depth=2, width=width, heads=2), **{"patch": 4, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"pooling": "mean", "registers": 2}, LEARNED])
def test_features_are_those_of_patches_in_any_order(changes, key):
    """The patches carry their positions; another size of images works."""
    config = small(**changes)
    model = moved(config.make(key, 3))
    x = images(3)
    features, moments = jax.jit(lambda m, x: m(x))(model, x)
    assert features.shape == (3, config.features)
    assert moments == ()
    states = model.embed(x)
    first = np.asarray(model.run(states)[:, 0])
    turned = np.asarray(model.run(states[:, ::-1])[:, 0])
    np.testing.assert_allclose(first, turned, atol=1e-5)
    maps, _ = model.maps(x)
    assert maps.shape == (3, 2, 2, 8)
    if config.pooling == "mean":
        np.testing.assert_allclose(features, maps.mean(axis=(1, 2)), atol=1e-5)
    else:
        np.testing.assert_allclose(features, first, atol=1e-5)
    assert model(images(2, 4, 12))[0].shape == (2, 8)
    shifted = np.asarray(model(np.roll(x, 4, axis=1))[0])
    assert np.abs(shifted - features).max() > 1e-3  # positions matter


def test_patches_are_embedded_alike_on_accelerators(key, monkeypatch):
    network, pixels = moved(small().make(key, 3)), images(2, 8, 8)
    expected = network.embed(pixels)
    monkeypatch.setattr(vision_transformer, "platform_of_mesh", lambda: "tpu")
    np.testing.assert_allclose(network.embed(pixels), expected, atol=1e-5)


@pytest.mark.slow
def test_learned_positions_are_added_and_interpolated_for_other_sizes(key):
    model = moved(small(**LEARNED).make(key, 3))
    bias = jnp.asarray(model.embedding.bias[...])
    table = model.positions.embedding[...]
    assert table.shape == (6, 8)

    def positions(height, width):
        return (model.embed(jnp.zeros((1, height, width, 3)))[0] - bias[None]).reshape(-1, 8)

    np.testing.assert_allclose(positions(8, 12), table, atol=1e-6)
    larger = resize_positions(table.reshape(2, 3, 8), 4, 3).reshape(-1, 8)
    np.testing.assert_allclose(positions(16, 12), larger, atol=1e-6)


def test_a_learned_table_leaves_all_other_parameters_as_they_were(key):
    sine, learned = (to_dict(small(registers=1, **more).make(key, 3)) for more in ({}, LEARNED))
    table = learned.pop("positions")["embedding"]
    assert 0.01 < float(table.std()) < 0.03
    for a, b in zip(jax.tree.leaves(sine), jax.tree.leaves(learned), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sine_positions_are_of_the_size_at_hand(key):
    model = small().make(key, 3)
    np.testing.assert_allclose(
        model.embed(jnp.zeros((1, 12, 8, 3)))[0], sine_positions(3, 2, 8), atol=1e-6
    )


def test_widths_that_are_no_multiple_of_four_go_with_learned_positions(key):
    features = jax.eval_shape(
        lambda key, x: small(width=10, **LEARNED).make(key, 3)(x)[0], key, images(1)
    )
    assert features.shape == (1, 10)


def test_a_token_position_is_the_first_row_of_the_table(key):
    model = moved(small(**LEARNED, token_position=True, embedding_norm=True).make(key, 3))
    table = model.positions.embedding[...]
    assert table.shape == (7, 8)
    pixels = jnp.asarray(images(1, 8, 12))
    states = model.embed(pixels)
    bare = model.embedding(split_patches(pixels, 4))
    np.testing.assert_allclose(states - bare, table[None, 1:], atol=1e-6)
    first = model.hidden_states(pixels)[0]
    token = model.token[...] + table[:1]
    np.testing.assert_allclose(first[:, 0], model.embedding_norm(token), atol=1e-6)
    np.testing.assert_allclose(first[:, 1:], model.embedding_norm(states), atol=1e-6)


def test_patches_without_a_bias(key, monkeypatch):
    model = small(patch_bias=False).make(key, 3)
    assert model.embedding.bias is None
    wanted = model.embed(images(1, 8, 8))
    np.testing.assert_allclose(model.embed(jnp.zeros((1, 8, 8, 3)))[0], sine_positions(2, 2, 8))
    monkeypatch.setattr(vision_transformer, "platform_of_mesh", lambda: "tpu")
    np.testing.assert_allclose(model.embed(images(1, 8, 8)), wanted, atol=1e-5)


@pytest.mark.slow
def test_features_by_attention_read_the_states_of_patches_alone(key):
    model = small(pooling="attention", registers=2).make(key, 3)
    assert model.token is None
    pixels = images(1, 8, 8)
    features, _ = model(pixels)
    states = model.run(model.embed(pixels))[:, 2:]
    np.testing.assert_allclose(features, model.head(states), atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"registers": 2},
        LEARNED | {"token_position": True, "embedding_norm": True},
        {"pooling": "attention", "patch_bias": False},
    ],
)
def test_every_parameter_has_a_line(changes, key):
    model = small(**changes).make(key, 3)
    assert None not in axes_of(model).values()
    shardings(model, Mesh(data=2, fsdp=2, tensor=2).make())


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: small(pooling="max"), "pooling='max' is unknown; use token, mean or attention"),
        (lambda: small(positions="rotary"), "positions='rotary' is unknown; use sine or learned"),
        (lambda: small(registers=-1), "registers=-1"),
        (lambda: small(width=6), "blocks.width=6 is no multiple of 4.*blocks.width to 8"),
        (lambda: small(positions="learned"), r"set positions_size to \(height, width\)"),
        (
            lambda: small(token_position=True),
            "pooling='token', positions='sine'; set pooling to 'token' and positions to 'learned'",
        ),
        (lambda: small(pooling="mean", token_position=True, **LEARNED), "pooling='mean'"),
        (
            lambda: check_reads_patches(small(pooling="attention")),
            "encoder.pooling='attention' has a head that .* set encoder.pooling to 'token' or 'mean'",
        ),
        (lambda: small(positions_size=(8, 8)), r"positions_size=\(8, 8\) has no effect"),
        (
            lambda: small(**LEARNED | {"positions_size": (8, 10)}),
            r"\(8, 10\) is not made of patches of 4x4; set positions_size to \(8, 12\)",
        ),
        (
            lambda: small(**LEARNED | {"positions_size": (0, 8)}),
            r"positions_size=\(0, 8\) .* to \(4, 8\)",
        ),
        (lambda: VisionTransformerConfig(vit(width=8, heads=2, causal=True)), "leave causal"),
        (
            lambda: VisionTransformerConfig(vit(width=8, heads=2, output_scale=0.5)),
            "leave it out of blocks",
        ),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(InputError, match=line):
        make()
