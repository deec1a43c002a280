"""Pooling by attention of one query, by hand in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.attention_pooling import AttentionPooling
from jaxssl.models.recipes import vit
from jaxssl.sharding.layout import axes_of
from tests.models.small_models import filled

HEAD = filled(lambda key: AttentionPooling(vit(1, 8, 2, mlp=12, activation="relu"), key))
STATES = np.random.default_rng(0).normal(size=(2, 5, 8))


def dense(layer, x):
    return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...], np.float64)


def by_hand(states):
    part = HEAD.attention
    query = dense(part.query, np.asarray(HEAD.probe[...], np.float64))[0].reshape(2, 4)
    keys, values = (dense(one, states).reshape(-1, 2, 4) for one in (part.key, part.value))
    weights = np.exp(np.einsum("hd,phd->hp", query, keys) / 2)
    weights /= weights.sum(axis=1, keepdims=True)
    mixed = dense(part.output, np.einsum("hp,phd->hd", weights, values).reshape(8))
    normed = (mixed - mixed.mean()) / np.sqrt(mixed.var() + 1e-6)
    normed = normed * np.asarray(HEAD.mlp_norm.scale[...]) + np.asarray(HEAD.mlp_norm.bias[...])
    return mixed + dense(HEAD.mlp.down, np.maximum(dense(HEAD.mlp.up, normed), 0))


def test_features_by_hand():
    found = HEAD(jnp.asarray(STATES, jnp.float32))
    np.testing.assert_allclose(found, [by_hand(one) for one in STATES], atol=1e-5)
    assert HEAD(jnp.asarray(STATES, jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.slow
def test_the_order_of_states_does_not_matter_and_their_number_may_be_any():
    states = jnp.asarray(STATES, jnp.float32)
    np.testing.assert_allclose(HEAD(states[:, ::-1]), HEAD(states), atol=1e-5)
    assert HEAD(states[:, :2]).shape == (2, 8)
    assert float(jnp.abs(HEAD(states[:, :2]) - HEAD(states)).max()) > 1e-3


@pytest.mark.parametrize("path", ["probe", "attention/key/kernel", "mlp_norm/scale"])
def test_every_parameter_has_a_line(path):
    axes = axes_of(HEAD)
    assert None not in axes.values()
    assert len(axes[path]) == {"probe": 2, "attention/key/kernel": 2, "mlp_norm/scale": 1}[path]
