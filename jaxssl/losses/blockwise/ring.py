"""Arrays that go once round all devices of a mapped axis."""

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
    """visit(step, stays, travels) on every device while `travels` goes once round all of them.

    After the last step everything that travels is home again. Without an axis: one visit at home.
    """
    if axis_name is None:
        return visit(jnp.zeros((), jnp.int32), stays, travels)
    size = jax.lax.axis_size(axis_name)
    onward = [(device, (device + 1) % size) for device in range(size)]

    def step(carry: tuple[Any, Any], number: Array) -> tuple[tuple[Any, Any], None]:
        stays, travels = visit(number, *carry)
        return (stays, jax.lax.ppermute(travels, axis_name, onward)), None

    return jax.lax.scan(step, (stays, travels), jnp.arange(size))[0]
