"""Residual networks against a slow reference, their published sizes, and batch norm over the global batch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.models.resnet import ResNetConfig, max_pool
from jaxssl.sharding.layout import axes_of, shardings
from jaxssl.sharding.mesh import Mesh
from tests.models.vision_reference import images, moved, slow_convolution, slow_norm, weights


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


@pytest.mark.slow
def test_resnet_is_that_of_the_slow_reference(key):
    model = moved(ResNetConfig(10, width=8).make(key, 3))
    x = images(2)
    features, moments = jax.jit(lambda m, x: m(x))(model, x)
    np.testing.assert_allclose(features, slow_resnet(model, x.astype(np.float64)), atol=2e-4)
    assert jax.tree.leaves(moments) == jax.tree.leaves(model.first_statistics()) == []


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_the_max_pool_and_its_gradient(kind):
    """Of growing numbers it is the last of a window; the gradient goes there and nowhere else."""
    x = jnp.arange(36, dtype=kind).reshape(1, 6, 6, 1)
    gradient = jax.jit(jax.grad(lambda x: max_pool(x).astype("float32").sum()))(x)
    np.testing.assert_array_equal(max_pool(x)[0, ..., 0], x[0, 1::2, 1::2, 0])
    wanted = np.zeros((6, 6))
    wanted[1::2, 1::2] = 1
    np.testing.assert_array_equal(gradient[0, ..., 0], wanted)


# Parameters that torchvision publishes, with a layer for 1,000 classes.
PUBLISHED = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


@pytest.mark.parametrize("depth", PUBLISHED)
def test_parameters_of_published_sizes(depth, key):
    config = ResNetConfig(depth, stem="imagenet")
    shapes = jax.eval_shape(lambda: config.make(key, 3))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    assert config.features == (2048 if depth >= 50 else 512)
    assert count + 1_000 * (config.features + 1) == PUBLISHED[depth]


def test_the_stem_for_small_images_has_a_smaller_kernel(key):
    small, large = (
        jax.eval_shape(lambda stem=stem: ResNetConfig(18, stem=stem).make(key, 3)).stem.kernel.shape
        for stem in ("cifar", "imagenet")
    )
    assert (small, large) == ((3, 3, 3, 64), (7, 7, 3, 64))


@pytest.mark.slow
def test_batch_norm_is_over_the_global_batch(key):
    """On eight devices the moments are those of one, and the gradient too, to 1e-5."""
    model = moved(ResNetConfig(10, width=8, norm="batch").make(key, 3))
    x = images(16, seed=3)

    def loss(model, x):
        features, moments = model(x)
        return jnp.square(features).mean(), moments

    step = jax.value_and_grad(loss, has_aux=True)
    rows = NamedSharding(Mesh().make(), PartitionSpec("data"))
    one = jax.jit(step)(model, x)
    many = jax.jit(step, in_shardings=(None, rows))(model, x)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(np.abs(a).max()))
    (_, moments), _ = one
    first = model.first_statistics()
    assert jax.tree.structure(moments) == jax.tree.structure(first)
    # With statistics an image's features are its own; those of the batch give what training gave.
    alone, same = model(x[:1], statistics=moments)
    np.testing.assert_allclose(alone[0], model(x)[0][0], atol=1e-4)
    assert jax.tree.structure(same) == jax.tree.structure(first)


@pytest.mark.parametrize(
    "config", [ResNetConfig(10, width=8), ResNetConfig(50, width=8, norm="batch")]
)
def test_every_parameter_has_a_line(config, key):
    shapes = jax.eval_shape(lambda: config.make(key, 3))
    assert None not in axes_of(shapes).values()
    shardings(shapes, Mesh(data=2, fsdp=2, tensor=2).make())


@pytest.mark.parametrize("which", ["3x3", "1x1"])
def test_which_convolution_of_a_bottleneck_has_the_stride(which, key):
    shapes = jax.eval_shape(lambda: ResNetConfig(14, width=4, bottleneck_stride=which).make(key, 3))
    strides = [[one.stride for one in block.convolutions] for block in shapes.blocks]
    assert strides[0] == [1, 1, 1]
    assert strides[1:] == [[2, 1, 1] if which == "1x1" else [1, 2, 1]] * 3
    basic = ResNetConfig(10, width=4, bottleneck_stride=which)
    shapes = jax.eval_shape(lambda: basic.make(key, 3))
    assert [one.stride for one in shapes.blocks[1].convolutions] == [2, 1]


def test_hidden_maps_are_those_of_the_stem_and_of_every_stage(key):
    make = ResNetConfig(14, width=4, stem="imagenet").make
    model = jax.eval_shape(lambda key: make(key, 3), key)
    found, last = jax.eval_shape(
        lambda m, x: (m.hidden_maps(x), m.maps(x)[0]), model, images(1, 64, 32)
    )
    assert [one.shape for one in found] == [
        (1, 16, 8, 4),
        (1, 16, 8, 16),
        (1, 8, 4, 32),
        (1, 4, 2, 64),
        (1, 2, 1, 128),
    ]
    assert last.shape == found[-1].shape


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"depth": 20}, "depth=20 is unknown; use 10, 14, 18, 26, 34, 50, 101 or 152"),
        ({"width": 0}, "width=0 is below 1"),
        ({"norm": "layer"}, "norm='layer' is unknown; use group or batch"),
        ({"bottleneck_stride": "2x2"}, "bottleneck_stride='2x2' is unknown; use 3x3 or 1x1"),
    ],
)
def test_bad_fields(fields, line):
    with pytest.raises(InputError, match=line):
        ResNetConfig(**fields)


@pytest.mark.slow
def test_half_precision(key):
    model = ResNetConfig(10, width=8, compute_dtype="bfloat16").make(key, 3)
    assert model.maps(images())[0].dtype == jnp.bfloat16
    assert model(images())[0].dtype == jnp.float32
