"""A ring of devices: arrays are passed from device to device until each device has seen all of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxssl.losses.axes import AxisName


def around_ring(
    visit: Callable[[Array, Any, Any], tuple[Any, Any]],
    stays: Any,
    travels: Any,
    axis_name: AxisName,
) -> tuple[Any, Any]:
    """Passes `travels` once around the ring of devices, and calls `visit` for each shard that arrives.

    At step k, device d sees the shard that started on device d - k. Each step passes the shards on
    by `ppermute`, so a device holds only one foreign shard at a time and nothing is gathered. After
    the last step every shard is back on the device where it started.

    Args:
      visit: Function of (step, stays, travels) that returns the updated pair (stays, travels). The
        step is an int32 scalar; step 0 is the device's own shard.
      stays: Pytree of arrays that stay on their device.
      travels: Pytree of arrays that travel around the ring.
      axis_name: Mapped axis of the ring. `None` calls `visit` once, with the arrays of the only
        device.

    Returns:
      The pair (stays, travels) after a full round.
    """
    if axis_name is None:
        return visit(jnp.zeros((), jnp.int32), stays, travels)
    size = jax.lax.axis_size(axis_name)
    onward = [(device, (device + 1) % size) for device in range(size)]

    def step(carry: tuple[Any, Any], number: Array) -> tuple[tuple[Any, Any], None]:
        stays, travels = visit(number, *carry)
        return (stays, jax.lax.ppermute(travels, axis_name, onward)), None

    return jax.lax.scan(step, (stays, travels), jnp.arange(size))[0]
