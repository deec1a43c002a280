"""Contrastive losses over the rows of all devices: value and gradients are those of one device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl import losses
from jaxssl.sharding.contrastive import over_all_rows
from jaxssl.sharding.mesh import Mesh

eight_devices = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices")


def embeddings(rows):
    random = np.random.default_rng(0)
    first, second = (jnp.asarray(random.normal(size=(rows, 4)), jnp.float32) for _ in range(2))
    return first, second, jnp.asarray(random.uniform(size=rows), jnp.float32)


def total(first, second, weights, temperature):
    trained = {"temperature": temperature}
    return over_all_rows(losses.info_nce, first, second, weights, trained, symmetric=False)


@eight_devices
@pytest.mark.parametrize("mesh", [Mesh(8, 1, 1), Mesh(2, 2, 2)])
def test_the_same_on_a_mesh(mesh):
    grid = mesh.make()
    arrays = embeddings(16)
    both = jax.value_and_grad(total, argnums=(0, 1, 3))

    def on_mesh(*arrays):
        with jax.sharding.use_abstract_mesh(grid.abstract_mesh):
            return both(*arrays)

    rows = NamedSharding(grid, PartitionSpec(("data", "fsdp")))
    temperature = jnp.float32(0.5)
    many = jax.jit(on_mesh)(*jax.device_put(arrays, rows), temperature)
    one = jax.jit(both)(*arrays, temperature)
    for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    plain = losses.info_nce(*arrays, temperature=0.5, symmetric=False)
    np.testing.assert_allclose(one[0], plain, rtol=1e-6)


@eight_devices
def test_rows_that_do_not_divide_are_left_to_the_compiler():
    arrays = embeddings(6)
    with jax.sharding.use_abstract_mesh(Mesh(8, 1, 1).make().abstract_mesh):
        found = total(*arrays, 0.5)
    expected = losses.info_nce(*arrays, temperature=0.5, symmetric=False)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
