"""What layers keep for their backward pass under every policy."""

import jax
import jax.numpy as jnp
import pytest

from jaxssl.models.layers import remat as remat_file
from jaxssl.models.layers.remat import REMAT, kept, policy_for

X = jnp.ones((2, 3, 5))


def layer(x):
    """A product with a batch axis [2, 3, 3], as scores are, one without, and a marked activation [2, 7]."""
    scores = jnp.einsum("btd,bsd->bts", x, jnp.sin(x))
    product = jnp.sin(scores).sum(axis=1) @ jnp.ones((3, 7))
    return jnp.sin(kept(jnp.sin(product)))


@pytest.mark.parametrize(
    ("remat", "shapes"),
    [("scores", {(2, 3, 3), (2, 7)}), ("activations", {(2, 7)}), ("inputs", set())],
)
def test_a_layer_keeps_its_input_and_what_the_policy_says(remat, shapes):
    _, transpose = jax.vjp(jax.checkpoint(layer, policy=REMAT[remat]), X)
    found = {leaf.shape for leaf in jax.tree.leaves(transpose) if jnp.size(leaf) > 1}
    assert found - {(3, 7)} == {X.shape} | shapes


@pytest.mark.parametrize(
    ("platform", "policy"), [("cpu", "scores"), ("gpu", "activations"), ("tpu", "activations")]
)
def test_scores_are_kept_on_cpus_where_nothing_else_is_asked_for(platform, policy, monkeypatch):
    monkeypatch.setattr(remat_file, "platform_of_mesh", lambda: platform)
    assert policy_for("auto") == policy
    assert policy_for("inputs") == "inputs"
