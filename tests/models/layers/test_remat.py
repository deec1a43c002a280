"""What layers keep for their backward pass under every policy."""

import jax
import jax.numpy as jnp
import pytest

from jaxssl.models.layers.remat import REMAT, kept

X = jnp.ones((2, 3, 5))


def layer(x):
    """A product with a batch axis [2, 3, 3], as scores are, one without, and a marked activation [2, 7]."""
    scores = jnp.einsum("btd,bsd->bts", x, jnp.sin(x))
    product = jnp.sin(scores).sum(axis=1) @ jnp.ones((3, 7))
    return jnp.sin(kept(jnp.sin(product)))


@pytest.mark.parametrize(
    ("remat", "shapes"),
    [("none", {(2, 3, 3), (2, 7)}), ("dots", {(2, 7)}), ("full", set())],
)
def test_a_layer_keeps_its_input_and_what_the_policy_says(remat, shapes):
    _, transpose = jax.vjp(jax.checkpoint(layer, policy=REMAT[remat]), X)
    found = {leaf.shape for leaf in jax.tree.leaves(transpose) if jnp.size(leaf) > 1}
    assert found - {(3, 7)} == {X.shape} | shapes
