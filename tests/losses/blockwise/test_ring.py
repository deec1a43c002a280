import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.losses.blockwise.ring import around_ring


def visit(step, seen, travels):
    """Notes, at the position of the step, whose shard it is, and marks the shard."""
    owner, visits = travels
    return seen.at[step].set(owner), (owner, visits + 1)


def test_every_device_sees_every_shard_and_all_come_home():
    numbers = jnp.arange(4)
    start = jnp.full((4, 4), -1)
    go = lambda seen, number: around_ring(visit, seen, (number, jnp.int32(0)), "i")  # noqa: E731
    seen, (owner, visits) = jax.vmap(go, axis_name="i")(start, numbers)
    # At step k device d sees the shard of device d - k.
    np.testing.assert_array_equal(seen, (numbers[:, None] - numbers[None]) % 4)
    np.testing.assert_array_equal(owner, numbers)
    np.testing.assert_array_equal(visits, [4] * 4)


def test_one_device_sees_its_own_shard_once():
    seen, (owner, visits) = around_ring(visit, jnp.full(2, -1), (7, 0), None)
    np.testing.assert_array_equal(seen, [7, -1])
    assert (owner, visits) == (7, 1)
