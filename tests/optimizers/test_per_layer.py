"""Stacked layers: which paths they have, and that each is treated as a parameter of its own."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.optimizers.per_layer import is_stacked, per_layer


@pytest.mark.parametrize(
    ("path", "stacked"),
    [
        ("layers/mlp/up/kernel", True),
        ("encoder/layers/norm/scale", True),
        ("projector/layers/0/kernel", False),  # a perceptron's first layer, by itself
        ("encoder/tokens/embedding", False),
        ("players/kernel", False),
    ],
)
def test_stacked_paths(path, stacked):
    assert is_stacked(path) is stacked


def test_a_trust_ratio_is_that_of_each_layer():
    """Norms of the two layers are 2 and 6 and of their updates 1; the head's norm is 3."""
    model = {"layers": {"kernel": jnp.array([[2.0, 0.0], [0.0, 6.0]])}, "head": jnp.array([3.0])}
    updates = {"layers": {"kernel": jnp.eye(2)}, "head": jnp.array([0.5])}
    transform = per_layer(optax.scale_by_trust_ratio())
    scaled, _ = transform.update(updates, transform.init(model), model)
    np.testing.assert_allclose(scaled["layers"]["kernel"], [[2.0, 0.0], [0.0, 6.0]], rtol=1e-6)
    np.testing.assert_allclose(scaled["head"], [3.0], rtol=1e-6)


def test_every_layer_has_a_state_of_its_own():
    model = {"layers": {"kernel": jnp.ones((3, 4))}, "head": jnp.ones(4)}
    transform = per_layer(optax.scale_by_adam())
    state = transform.init(model)
    assert state["layers"]["kernel"].count.shape == (3,)
    assert state["head"].count.shape == ()
    _, state = transform.update(model, state, model)
    np.testing.assert_array_equal(state["layers"]["kernel"].count, [1, 1, 1])
