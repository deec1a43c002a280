"""Projectors and predictors by hand."""

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.layers.mlp import MLP
from jaxssl.sharding.layout import axes_of


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_heads(norm, key):
    head = MLP(key, (4, 6, 3), norm=norm)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    out, moments = head(x)
    hidden = x @ np.asarray(head.layers[0].kernel[...])
    if norm != "none":
        axis, epsilon = (1, 1e-6) if norm == "layer" else (0, 1e-5)
        centred = hidden - hidden.mean(axis=axis, keepdims=True)
        hidden = centred / np.sqrt(hidden.var(axis=axis, keepdims=True) + epsilon)
    expected = np.maximum(hidden, 0) @ np.asarray(head.layers[1].kernel[...])
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert jax.tree.structure(moments) == jax.tree.structure(head.first_statistics())


def test_one_width_is_no_perceptron(key):
    with pytest.raises(InputError, match="at least inputs and outputs"):
        MLP(key, (4,))


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_every_parameter_has_a_line(norm, key):
    assert None not in axes_of({"projector": MLP(key, (8, 8, 4), norm=norm)}).values()


def test_normed_outputs(key):
    """SimSiam's projector: one more batch norm, without scale and bias, and no ReLU behind it."""
    plain, head = (
        MLP(key, (4, 6, 3), norm="batch"),
        MLP(key, (4, 6, 3), norm="batch", norm_outputs=True),
    )
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    out, moments = head(x)
    before = np.asarray(plain(x)[0])
    expected = (before - before.mean(axis=0)) / np.sqrt(before.var(axis=0) + 1e-5)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert (out < 0).any()
    assert jax.tree.structure(moments) == jax.tree.structure(head.first_statistics())
    assert len(jax.tree.leaves(head)) == len(jax.tree.leaves(plain)) - 1
    assert None not in axes_of({"projector": head}).values()
    again = head(x[:1], statistics=moments)[0]
    np.testing.assert_allclose(again, out[:1], atol=1e-5)


def test_activations(key):
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    head = MLP(key, (4, 6, 3), activation="gelu")
    hidden = x @ np.asarray(head.layers[0].kernel[...])
    expected = jax.nn.gelu(hidden, approximate=False) @ head.layers[1].kernel[...]
    np.testing.assert_allclose(head(x)[0], expected, atol=1e-5)
