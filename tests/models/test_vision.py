"""Encoders of images against slow references in numpy, their sizes, their layouts."""

import math
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.models.layers.convolution import BatchNorm, Convolution, GroupNorm, groups_of
from jaxssl.models.layers.convolution_on_cpu import convolve, convolve_on_cpu
from jaxssl.models.layers.mlp import MLP
from jaxssl.models.pretraining.image_autoencoder import ImageAutoencoderModel
from jaxssl.models.pretraining.image_decoder import ImageDecoder
from jaxssl.models.recipes import vit
from jaxssl.models.resnet import ResNetConfig, largest_of_nine
from jaxssl.models.vision_transformer import (
    VisionTransformerConfig,
    cut_patches,
    join_patches,
    sine_positions,
)
from jaxssl.sharding.layout import axes_of, shardings
from jaxssl.sharding.mesh import Mesh

KEY = jax.random.key(0)


def images(batch=4, height=8, width=8, channels=3, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(batch, height, width, channels)).astype(np.float32)


def small_vit(**changes):
    return VisionTransformerConfig(vit(depth=2, width=8, heads=2), patch=4, **changes)


def slow_convolution(x, kernel, stride):
    """Place by place."""
    size, side = kernel.shape[0], kernel.shape[0] // 2
    batch, height, width, _ = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    wide = np.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
    out = np.zeros((batch, rows, columns, kernel.shape[-1]))
    for row, column in product(range(rows), range(columns)):
        top, left = row * stride, column * stride
        part = wide[:, top : top + size, left : left + size]
        out[:, row, column] = np.einsum("bhwi,hwio->bo", part, kernel)
    return out


def slow_norm(x, norm):
    out = np.zeros_like(x)
    size = x.shape[-1] // norm.groups
    for image, group in product(range(len(x)), range(norm.groups)):
        part = x[image, :, :, group * size : (group + 1) * size]
        scaled = (part - part.mean()) / math.sqrt(part.var() + norm.epsilon)
        out[image, :, :, group * size : (group + 1) * size] = scaled
    return out * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])


def slow_resnet(model, x):
    """Convolution, norm, ReLU, block by block, in float64."""
    x = np.maximum(slow_norm(slow_convolution(x, weights(model.stem), 1), model.stem_norm), 0)
    for block in model.blocks:
        y = x
        last = len(block.norms) - 1
        for i, (one, norm) in enumerate(zip(block.convolutions, block.norms, strict=True)):
            y = slow_norm(slow_convolution(y, weights(one), one.stride), norm)
            y = y if i == last else np.maximum(y, 0)
        if block.shortcut is not None:
            shortcut = slow_convolution(x, weights(block.shortcut), block.shortcut.stride)
            x = slow_norm(shortcut, block.shortcut_norm)
        x = np.maximum(x + y, 0)
    return x.mean(axis=(1, 2))


def weights(one):
    return np.asarray(one.kernel[...], np.float64)


def lively(model, seed=1):
    """Scales and biases that matter, also those that start at 0."""
    leaves, tree = jax.tree.flatten(model)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    moved = [x + 0.2 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(tree, moved)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2), (1, 2)])
def test_convolution(size, stride):
    one = Convolution(KEY, 3, 4, size, stride=stride)
    x = images(2)
    np.testing.assert_allclose(one(x), slow_convolution(x, weights(one), stride), atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [(1, 2), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("cached", [1, 1 << 20])  # numbers at a time: image by image, all together
def test_the_kernels_gradient_on_a_cpu(size, stride, cached, monkeypatch):
    """That of XLA's own, of sides that the stride does not divide: to 1e-5, in bfloat16 to 1 %."""
    monkeypatch.setattr("jaxssl.models.layers.convolution_on_cpu.CACHED", cached)
    x, kernel = images(3, height=9, width=6), Convolution(KEY, 3, 4, size).kernel[...]
    shape = convolve(x, kernel, stride).shape
    pull = jax.random.normal(KEY, shape)

    def gradients(function, kind):
        result, back = jax.vjp(
            lambda *of: function(*of, stride), x.astype(kind), kernel.astype(kind)
        )
        return jax.device_get(back(pull.astype(result.dtype)))

    wanted = gradients(convolve, "float32")
    for a, b in zip(gradients(convolve_on_cpu, "float32"), wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())
    for a, b in zip(gradients(convolve_on_cpu, "bfloat16"), wanted, strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(np.float32), b, atol=1e-2 * np.abs(b).max())


def test_resnet_is_that_of_the_slow_reference():
    model = lively(ResNetConfig(10, width=8).make(KEY, 3))
    x = images(2)
    features, moments = jax.jit(lambda m, x: m(x))(model, x)
    np.testing.assert_allclose(features, slow_resnet(model, x.astype(np.float64)), atol=2e-4)
    assert jax.tree.leaves(moments) == jax.tree.leaves(model.first_statistics()) == []


def test_groups():
    assert [groups_of(c) for c in (3, 4, 6, 8, 16, 64, 128, 512)] == [1, 1, 1, 2, 4, 16, 32, 32]


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_the_largest_of_nine_and_its_gradient(kind):
    """Of growing numbers it is the last of a window; the gradient goes there and nowhere else."""
    x = jnp.arange(36, dtype=kind).reshape(1, 6, 6, 1)
    gradient = jax.jit(jax.grad(lambda x: largest_of_nine(x).astype("float32").sum()))(x)
    np.testing.assert_array_equal(largest_of_nine(x)[0, ..., 0], x[0, 1::2, 1::2, 0])
    wanted = np.zeros((6, 6))
    wanted[1::2, 1::2] = 1
    np.testing.assert_array_equal(gradient[0, ..., 0], wanted)


@pytest.mark.parametrize(("depth", "stem"), [(18, "cifar"), (34, "imagenet"), (50, "imagenet")])
def test_parameters_of_published_sizes(depth, stem):
    """Those of torchvision (11.69, 21.80 and 25.56 M) less the classes' layer; CIFAR's stem is smaller."""
    shapes = jax.eval_shape(lambda: ResNetConfig(depth, stem=stem).make(KEY, 3))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    published = {18: 11_689_512 - 513_000 - 64 * 3 * (49 - 9), 34: 21_797_672 - 513_000}
    published[50] = 25_557_032 - 2_049_000
    assert count == published[depth]


def test_batch_norm_is_over_the_global_batch():
    """On eight devices the moments are those of one, and the gradient too, to 1e-5."""
    model = lively(ResNetConfig(10, width=8, norm="batch").make(KEY, 3))
    x = images(16, seed=3)

    def loss(model, x):
        features, moments = model(x)
        return jnp.square(features).mean(), moments

    step = jax.value_and_grad(loss, has_aux=True)
    cut = NamedSharding(Mesh().make(), PartitionSpec("data"))
    one = jax.jit(step)(model, x)
    many = jax.jit(step, in_shardings=(None, cut))(model, x)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(np.abs(a).max()))
    (_, moments), _ = one
    first = model.first_statistics()
    assert jax.tree.structure(moments) == jax.tree.structure(first)
    # With statistics an image's features are its own; those of the batch give what training gave.
    alone, same = model(x[:1], statistics=moments)
    np.testing.assert_allclose(alone[0], model(x)[0][0], atol=1e-4)
    assert jax.tree.structure(same) == jax.tree.structure(first)


def test_norms_by_hand():
    x = jnp.array([[1.0, 2.0], [3.0, 6.0]])
    normed, moments = BatchNorm(2, epsilon=0.0)(x)
    np.testing.assert_allclose(normed, [[-1, -1], [1, 1]], atol=1e-6)
    np.testing.assert_allclose(moments["mean"], [2, 4])
    np.testing.assert_allclose(moments["variance"], [1, 4])
    y = images(2, 2, 2, 8)
    norm = lively(GroupNorm(8))
    np.testing.assert_allclose(norm(y)[0], slow_norm(y, norm), atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_heads(norm):
    head = MLP(KEY, (4, 6, 3), norm=norm)
    x = images(5, 1, 1, 4)[:, 0, 0]
    out, moments = head(x)
    hidden = x @ np.asarray(head.layers[0].kernel[...])
    if norm != "none":
        axis, epsilon = (1, 1e-6) if norm == "layer" else (0, 1e-5)
        centred = hidden - hidden.mean(axis=axis, keepdims=True)
        hidden = centred / np.sqrt(hidden.var(axis=axis, keepdims=True) + epsilon)
    expected = np.maximum(hidden, 0) @ np.asarray(head.layers[1].kernel[...])
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert jax.tree.structure(moments) == jax.tree.structure(head.first_statistics())
    with pytest.raises(InputError, match="at least inputs and outputs"):
        MLP(KEY, (4,))


def test_patches_and_back():
    x = images(2, 8, 12)
    patches = cut_patches(x, 4)
    assert patches.shape == (2, 6, 48)
    np.testing.assert_array_equal(patches[1, 4].reshape(4, 4, 3), x[1, 4:8, 4:8])
    np.testing.assert_array_equal(join_patches(patches, 4, 8, 12), x)
    with pytest.raises(InputError, match="8x10 are not made of patches of 4x4"):
        cut_patches(images(1, 8, 10), 4)


def test_positions_by_hand():
    found = np.asarray(sine_positions(2, 3, 8))
    row, column = 1, 2
    quarter = [
        [f(p / 10_000 ** (i / 2)) for i in range(2)]
        for p in (column, row)
        for f in (math.sin, math.cos)
    ]
    np.testing.assert_allclose(found[row * 3 + column], np.ravel(quarter), atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"pooling": "mean", "registers": 2}])
def test_vision_transformer(changes):
    """Its features are those of patches in any order that carry their positions; another size works."""
    config = small_vit(**changes)
    model = lively(config.make(KEY, 3))
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
    moved = np.asarray(model(np.roll(x, 4, axis=1))[0])
    assert np.abs(moved - features).max() > 1e-3  # positions matter


def test_decoder_doubles_maps_of_any_size():
    decoder = ImageDecoder(KEY, 6, 4, 3, doublings=2)
    maps = images(2, 3, 5, 6)
    assert decoder(maps).shape == (2, 12, 20, 3)
    x = maps
    for convolution, norm in zip(decoder.convolutions, decoder.norms, strict=True):
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        x = np.maximum(slow_norm(slow_convolution(x, weights(convolution), 1), norm), 0)
    np.testing.assert_allclose(
        decoder(maps), slow_convolution(x, weights(decoder.pixels), 1), atol=1e-5
    )
    with pytest.raises(InputError, match="from 0 channels by 4 to 3, doubled 2 times"):
        ImageDecoder(KEY, 0, 4, 3, doublings=2)


def test_parameters_have_a_place():
    mesh = Mesh(data=2, fsdp=2, tensor=2).make()
    for config in (
        ResNetConfig(10, width=8),
        ResNetConfig(50, width=8, norm="batch"),
        small_vit(registers=2),
    ):
        assert None not in axes_of(config.make(KEY, 3)).values()
        shardings(config.make(KEY, 3), mesh)
    assert None not in axes_of({"projector": MLP(KEY, (8, 8, 4), norm="batch")}).values()


def test_gradients_where_kernels_are_cut_twice():
    """On 2 x 2 x 2 devices those of one, to 1e-4; XLA mixed up rows, or added parts four times."""
    mesh = Mesh(data=2, fsdp=2, tensor=2).make()
    encoder, size = ResNetConfig(10, width=8), {"code": 16, "decoder_width": 8}
    model = {
        "images": ImageAutoencoderModel(KEY, encoder, 16, 16, 3, **size),
        "projector": MLP(jax.random.key(1), (64, 16, 256)),
    }
    x = images(16, 16, 16)

    def loss(model, x):
        features, _ = model["images"].encoder(x)
        image = model["images"].decode(features, "float32")
        projected, _ = model["projector"](features)
        rows = jnp.arange(16.0)[:, None]
        return jnp.square(image - x).mean() + jnp.square(projected - rows).mean()

    def on_mesh(model, x):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.grad(loss)(model, x)

    lie = shardings(model, mesh)
    cut = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    many = jax.jit(on_mesh, in_shardings=(lie, cut), out_shardings=lie)(model, x)
    one = jax.jit(jax.grad(loss))(model, x)
    for (path, a), b in zip(jax.tree.leaves_with_path(one), jax.tree.leaves(many), strict=True):
        atol = 1e-4 * float(jnp.abs(a).max()) + 1e-9
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=str(path))


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: ResNetConfig(20), "depth 20 is not one of 10, 18, 34, 50"),
        (lambda: ResNetConfig(width=0), "width 0 is below 1"),
        (lambda: ResNetConfig(norm="layer"), "norm 'layer' is not one of group, batch"),
        (lambda: small_vit(pooling="max"), "pooling 'max' is unknown"),
        (lambda: small_vit(registers=-1), "registers -1"),
        (lambda: VisionTransformerConfig(vit(width=6, heads=2)), "width 6 is no multiple of 4"),
        (lambda: VisionTransformerConfig(vit(width=8, heads=2, causal=True)), "leave causal"),
    ],
)
def test_bad_fields(make, line):
    with pytest.raises(InputError, match=line):
        make()


def test_half_precision():
    model = ResNetConfig(10, width=8, compute_dtype="bfloat16").make(KEY, 3)
    assert model.maps(images())[0].dtype == jnp.bfloat16
    assert model(images())[0].dtype == jnp.float32
