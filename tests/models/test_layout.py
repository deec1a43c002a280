"""Every parameter has a place on the mesh; a place that does not fit is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.models.layout import axes_of, constrain, path_of, shardings, spec_of
from jaxssl.models.transformer import LAYOUT
from tests.models.small_models import RECIPES, SEGMENTS, TOKENS, lively

ALL = pytest.mark.parametrize("recipe", RECIPES)
eight_devices = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices")


def mesh_of(data=1, fsdp=1, tensor=1):
    devices = jax.devices()[: data * fsdp * tensor]
    kinds = (AxisType.Auto,) * 3
    return jax.make_mesh((data, fsdp, tensor), ("data", "fsdp", "tensor"), kinds, devices=devices)


@ALL
def test_every_parameter_has_one_line_with_an_axis_for_each_of_its_own(recipe):
    for keys, leaf in jax.tree_util.tree_leaves_with_path(lively(RECIPES[recipe])):
        assert len(axes_of(path_of(keys), [LAYOUT])) == leaf.ndim


def test_paths_are_plain_and_what_stands_before_does_not_matter():
    model = lively(RECIPES["bert"])
    paths = [path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(model)]
    assert {"tokens/embedding", "layers/attention/query/kernel", "layers/mlp/up/bias"} < set(paths)
    assert axes_of("0/mu/encoder/tokens/embedding", [LAYOUT]) == ("vocab", "embed")
    with pytest.raises(LookupError, match="othertokens/embedding"):
        axes_of("othertokens/embedding", [LAYOUT])


@eight_devices
def test_rules_become_specs():
    def spec(path, shape, **sizes):
        return spec_of(path, shape, mesh_of(**sizes), [LAYOUT])

    query = "layers/attention/query/kernel"
    assert spec(query, (2, 16, 16), fsdp=2, tensor=4) == PartitionSpec(None, ("fsdp",), ("tensor",))
    assert spec(query, (2, 16, 16), data=8) == PartitionSpec(None, None, None)
    up = "layers/mlp/up/bias"
    assert spec(up, (2, 64), tensor=2) == PartitionSpec(None, ("tensor",))
    words = r"encoder/tokens/embedding: its vocab axis of size 23 .* mesh axis tensor of 2"
    with pytest.raises(InputError, match=words):
        spec("encoder/tokens/embedding", (23, 16), tensor=2)


@eight_devices
@ALL
def test_a_model_cut_over_three_axes_computes_the_same(recipe, key):
    """States within 1e-5 and gradients within 1e-4 of one device's, with dropout on."""
    model = lively(RECIPES[recipe], vocabulary=24)
    tokens, segments = np.concatenate([TOKENS] * 2), np.concatenate([SEGMENTS] * 2)
    aim = jax.random.normal(key, (*tokens.shape, model.config.width))

    def loss(model):
        states = model(jnp.asarray(tokens), jnp.asarray(segments), key=key)
        return (states * aim).sum(), states

    gradient = jax.grad(loss, has_aux=True)
    alone, mesh = jax.jit(gradient)(model), mesh_of(2, 2, 2)
    places = shardings(model, mesh, [LAYOUT])
    with jax.set_mesh(mesh):
        cut = jax.jit(gradient, in_shardings=(places,))(jax.device_put(model, places))
    np.testing.assert_allclose(cut[1], alone[1], atol=1e-5)
    for a, b in zip(jax.tree.leaves(cut[0]), jax.tree.leaves(alone[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@eight_devices
def test_constrain():
    x = jnp.ones((4, 3))
    assert constrain(x, "batch", None) is x
    with jax.set_mesh(mesh_of(2, 2)):
        cut = jax.jit(lambda x: constrain(x, "batch", None))(x)
        assert cut.sharding.spec == PartitionSpec(("data", "fsdp"))
        jax.jit(lambda x: constrain(x, "batch", None))(x[:3])  # does not divide: left alone
