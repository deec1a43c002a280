"""Every parameter has a sharding; a size or a line that does not fit is named."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.sharding.layout import axes_of, constrain, path_of, shardings, specs_of
from tests.models.small_models import RECIPES, SEGMENTS, TOKENS, lively

ALL = pytest.mark.parametrize("recipe", RECIPES)
eight_devices = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices")


def mesh_of(data=1, fsdp=1, tensor=1):
    devices = jax.devices()[: data * fsdp * tensor]
    kinds = (AxisType.Auto,) * 3
    return jax.make_mesh((data, fsdp, tensor), ("data", "fsdp", "tensor"), kinds, devices=devices)


@ALL
def test_every_parameter_has_one_line_with_an_axis_for_each_of_its_own(recipe):
    model = lively(RECIPES[recipe])
    axes = axes_of(model)
    for keys, leaf in jax.tree_util.tree_leaves_with_path(model):
        assert len(axes[path_of(keys)]) == leaf.ndim


class Part(nnx.Module):
    layout = ((r"(first|second)/kernel", ("embed", "mlp")), (r"first/bias", ("mlp",)))

    def __init__(self, width=8):
        self.first = nnx.Dict(
            kernel=nnx.Param(jnp.ones((4, width))), bias=nnx.Param(jnp.ones(width))
        )
        self.second = nnx.Dict(
            kernel=nnx.Param(jnp.ones((4, width))), bias=nnx.Param(jnp.ones(width))
        )


class Whole(nnx.Module):
    layout = ((r"parts/0/first/kernel", (None, "vocab")),)

    def __init__(self):
        self.parts = nnx.List([Part(), Part()])


def test_paths_are_plain_and_a_module_brings_its_table():
    model = lively(RECIPES["bert"])
    paths = {path_of(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(model)}
    assert {"tokens/embedding", "layers/attention/query/kernel", "layers/mlp/up/bias"} < paths
    assert axes_of({"a": {"b": model}})["a/b/tokens/embedding"] == ("vocab", "embed")


def test_the_outermost_table_that_matches_decides():
    axes = axes_of(Whole())
    assert axes["parts/0/first/kernel"] == (None, "vocab")
    assert axes["parts/1/first/kernel"] == axes["parts/0/second/kernel"] == ("embed", "mlp")
    assert axes["parts/1/first/bias"] == ("mlp",)
    assert axes["parts/1/second/bias"] is None


@eight_devices
def test_what_no_table_knows_is_replicated_with_one_warning():
    with pytest.warns(
        UserWarning, match=r"parts/0/second/bias, parts/1/second/bias; .* `layout = "
    ) as told:
        specs = specs_of(Whole(), mesh_of(tensor=2))
    assert len(told) == 1
    assert specs["parts/0/second/bias"] == PartitionSpec()
    assert specs["parts/1/first/bias"] == PartitionSpec(("tensor",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        specs_of(Whole(), mesh_of())  # one device: nothing to shard


def test_a_line_with_another_number_of_axes_is_named():
    class Wrong(nnx.Module):
        layout = ((r"scores", ("embed",)),)

        def __init__(self):
            self.scores = nnx.Param(jnp.zeros((4, 3)))

    words = (
        r"scores has shape \(4, 3\), but its layout line has 1 axes; give the line an axis or None"
    )
    with pytest.raises(InputError, match=words):
        specs_of(Wrong(), mesh_of())


@eight_devices
def test_rules_become_specs():
    shape = RECIPES["bert"]

    def spec(path, vocabulary=24, **sizes):
        return specs_of({"encoder": lively(shape, vocabulary=vocabulary)}, mesh_of(**sizes))[path]

    query = "encoder/layers/attention/query/kernel"
    assert spec(query, fsdp=2, tensor=4) == PartitionSpec(None, ("fsdp",), ("tensor",))
    assert spec(query, data=8) == PartitionSpec(None, None, None)
    assert spec("encoder/layers/mlp/up/bias", tensor=2) == PartitionSpec(None, ("tensor",))
    words = r"encoder/tokens/embedding: its vocab axis of size 23 .* mesh axis tensor of 2"
    with pytest.raises(InputError, match=words):
        spec(query, vocabulary=23, tensor=2)


@pytest.mark.slow
@eight_devices
@ALL
def test_a_model_sharded_over_three_axes_computes_the_same(recipe, key):
    """States within 1e-5 and gradients within 1e-4 of one device's, with dropout on."""
    model = lively(RECIPES[recipe], vocabulary=24)
    tokens, segments = np.concatenate([TOKENS] * 2), np.concatenate([SEGMENTS] * 2)
    aim = jax.random.normal(key, (*tokens.shape, model.config.width))

    def loss(model):
        states = model(jnp.asarray(tokens), jnp.asarray(segments), key=key)
        return (states * aim).sum(), states

    gradient = jax.grad(loss, has_aux=True)
    alone, mesh = jax.jit(gradient)(model), mesh_of(2, 2, 2)
    specs = shardings(model, mesh)
    with jax.set_mesh(mesh):
        sharded = jax.jit(gradient, in_shardings=(specs,))(jax.device_put(model, specs))
    np.testing.assert_allclose(sharded[1], alone[1], atol=1e-5)
    for a, b in zip(jax.tree.leaves(sharded[0]), jax.tree.leaves(alone[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@eight_devices
def test_constrain():
    x = jnp.ones((4, 3))
    assert constrain(x, "batch", None) is x
    with jax.set_mesh(mesh_of(2, 2)):
        sharded = jax.jit(lambda x: constrain(x, "batch", None))(x)
        assert sharded.sharding.spec == PartitionSpec(("data", "fsdp"))
        jax.jit(lambda x: constrain(x, "batch", None))(x[:3])  # does not divide: left alone
