"""Reading and writing at positions against numpy, and that a sharded batch is not gathered."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxssl.objectives.corruption.positions import count_at, least_at, put_at, read_at, write_at

ROWS = jnp.array([[10, 11, 12, 13], [20, 21, 22, 23]])
POSITIONS = jnp.array([[3, 0], [1, 2]])


def test_reading_and_writing():
    np.testing.assert_array_equal(read_at(ROWS, POSITIONS), [[13, 10], [21, 22]])
    states = jnp.stack([ROWS, -ROWS], axis=-1)
    np.testing.assert_array_equal(read_at(states, POSITIONS)[1], [[21, -21], [22, -22]])
    written = write_at(ROWS, POSITIONS, jnp.array([[1, 2], [3, 4]]))
    np.testing.assert_array_equal(written, [[2, 11, 12, 1], [20, 3, 4, 23]])


def test_counting_and_the_smallest():
    positions = jnp.array([[0, 2, 2, 1]])
    counted = jnp.array([[True, True, True, False]])
    np.testing.assert_array_equal(count_at(positions, 4, counted), [[1, 0, 2, 0]])
    values = jnp.array([[5, 8, 7, 3]])
    np.testing.assert_array_equal(least_at(positions, 4, values, 6), [[5, 3, 6, 6]])


def test_values_without_a_position_are_dropped():
    positions = jnp.array([[1, 4, 0]])
    np.testing.assert_array_equal(
        put_at(positions, 4, jnp.array([[7, 8, 9]]), -1), [[9, 7, -1, -1]]
    )


def test_no_device_sees_the_rows_of_another():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    shapes = [jax.ShapeDtypeStruct((16, size), jnp.int32, sharding=rows) for size in (32, 4)]
    program = jax.jit(lambda rows, positions: write_at(rows, positions, read_at(rows, positions)))
    text = program.lower(*shapes).compile().as_text()
    assert not [kind for kind in ("all-gather", "all-reduce", "all-to-all") if kind in text]
