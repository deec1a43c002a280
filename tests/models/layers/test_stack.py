"""Stacked layers run one after another, with and without an output of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.layers import stack
from jaxssl.models.layers.stack import default_unroll, run_layers, scan_layers, stack_layers


def draw(key):
    return {"factor": jax.random.normal(key, (3,))}


def apply(layer, x, one):
    return jnp.tanh(x * layer["factor"] + one)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_layers_run_in_order_and_their_outputs_are_stacked(depth, key):
    layers, each = stack_layers(draw, key, depth), jnp.linspace(0, 1, depth)
    x, states = jnp.ones(3), []
    for i, one in enumerate(jax.random.split(key, depth)):
        np.testing.assert_array_equal(layers["factor"][i], draw(one)["factor"])
        x = apply(draw(one), x, each[i])
        states.append(x)
    last = run_layers(layers, jnp.ones(3), each, apply)
    np.testing.assert_allclose(last, x, rtol=1e-6)

    def with_output(layer, x, one):
        x = apply(layer, x, one)
        return x, 2 * x

    last, outputs = scan_layers(layers, jnp.ones(3), each, with_output)
    np.testing.assert_allclose(last, x, rtol=1e-6)
    np.testing.assert_allclose(outputs, 2 * jnp.stack(states), rtol=1e-6)


@pytest.mark.parametrize("unroll", [1, 2, 9])
def test_layers_without_a_loop_compute_the_same(unroll, key):
    layers, each = stack_layers(draw, key, 4), jnp.linspace(0, 1, 4)

    def last(**options):
        return run_layers(layers, jnp.ones(3), each, apply, **options)

    np.testing.assert_allclose(last(unroll=unroll), last(), rtol=1e-6)
    loops = str(jax.make_jaxpr(lambda: last(unroll=unroll))()).count("unroll=4")
    assert loops == (unroll == 9)


def test_the_default_is_a_loop_for_deep_networks_and_for_those_that_save_memory(monkeypatch):
    assert [default_unroll(depth, "auto") for depth in (2, 3, 12)] == [2, 1, 1]  # on a CPU
    monkeypatch.setattr(stack, "platform_of_mesh", lambda: "tpu")
    assert [default_unroll(depth, "auto") for depth in (2, 24, 25)] == [2, 24, 1]
    assert default_unroll(12, "inputs") == 1


@pytest.mark.parametrize("run", [run_layers, scan_layers])
def test_an_unknown_remat_is_named(run):
    with pytest.raises(
        InputError, match="remat 'some' is not one of auto, scores, activations, inputs"
    ):
        run({"factor": jnp.ones((1, 3))}, jnp.ones(3), jnp.ones(1), apply, remat="some")
