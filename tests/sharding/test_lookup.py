"""A table that is cut is looked up as a whole one is, and does not move."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxssl.sharding.lookup import look_up
from jaxssl.sharding.mesh import Mesh

VOCAB, WIDTH = 12, 8


@pytest.mark.parametrize("mesh", [Mesh(1, 8, 1), Mesh(2, 2, 2)])
def test_rows_and_their_gradient_are_those_of_the_whole_table(mesh):
    mesh = mesh.make()
    rng = np.random.default_rng(0)
    table, ids = rng.normal(size=(VOCAB, WIDTH)), rng.integers(VOCAB, size=(8, 5))
    factors = rng.normal(size=(8, 5, WIDTH))
    places = NamedSharding(mesh, PartitionSpec("tensor", "fsdp"))
    rows = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))

    def total(table, ids):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            found = look_up(table, ids)
        return (found * jnp.asarray(factors, jnp.float32)).sum(), found

    arrays = (jax.device_put(jnp.float32(table), places), jax.device_put(jnp.int32(ids), rows))
    form = partial(jax.jit, out_shardings=((None, rows), places))
    compiled = form(jax.value_and_grad(total, has_aux=True)).lower(*arrays).compile()
    (_, found), gradient = compiled(*arrays)
    wanted = np.zeros((VOCAB, WIDTH))
    np.add.at(wanted, ids, factors)
    np.testing.assert_array_equal(found, np.float32(table)[ids])
    np.testing.assert_allclose(gradient, wanted, atol=1e-6)
    assert not re.search(rf"= f32\[{VOCAB},{WIDTH}\]\S* all-", compiled.as_text())


def test_what_does_not_divide_is_left_to_the_compiler():
    table, ids = jnp.zeros((VOCAB, WIDTH)), jnp.zeros((6, 5), int)
    assert look_up(table, ids) is None
    with jax.sharding.use_abstract_mesh(Mesh(1, 8, 1).make().abstract_mesh):
        assert look_up(table, ids) is None
