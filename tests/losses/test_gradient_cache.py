from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses


def embed(params, rows, key):
    """With dropout, so that a key which is not replayed is noticed."""
    keep = jax.random.bernoulli(key, 0.7, rows.shape)
    return {name: jnp.tanh(rows * keep @ matrix) for name, matrix in params["towers"].items()}


def contrast(params, embeddings):
    return losses.info_nce(
        embeddings["first"], embeddings["second"], temperature=params["temperature"]
    )


@pytest.fixture
def example():
    random = np.random.default_rng(0)
    towers = {n: jnp.asarray(random.normal(size=(5, 3)), jnp.float32) for n in ("first", "second")}
    params = {"towers": towers, "temperature": jnp.float32(0.5)}
    return params, jnp.asarray(random.normal(size=(12, 5)), jnp.float32)


@pytest.mark.parametrize("microbatches", [1, 3])
def test_is_one_large_batch(example, microbatches, key):
    params, rows = example

    def whole(params):
        parts = rows.reshape(microbatches, -1, 5)
        each = [
            embed(params, part, jax.random.fold_in(key, number))
            for number, part in enumerate(parts)
        ]
        return contrast(params, jax.tree.map(lambda *a: jnp.concatenate(a), *each))

    cached = jax.jit(partial(losses.cached_gradients, embed, contrast, microbatches=microbatches))
    ours = cached(params, rows, key)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        ours,
        jax.jit(jax.value_and_grad(whole))(params),
    )


def test_uneven_cuts_are_refused(example, key):
    params, rows = example
    with pytest.raises(ValueError, match=r"12 rows.*\(12, 5\).*5 equal"):
        losses.cached_gradients(embed, contrast, params, rows, key, microbatches=5)
