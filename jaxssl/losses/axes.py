"""Sums and means that are exact over any number of devices; gradients formed in the forward pass.

The convention of every loss here: each device adds up its own numerators and denominators, and
only these sums cross the devices, by `psum`. Then the value is the global one on every device, and

- `jax.grad` outside `pmap`, `vmap(axis_name=)` or `shard_map` is the exact global gradient;
- inside, under `pmap`, `vmap` and `shard_map(check_vma=False)`, `psum` is its own transpose, so
  `jax.grad` is n times the part of this device, and `lax.pmean` of it is the exact global gradient;
- inside `shard_map(check_vma=True)`, `jax.grad` by a replicated parameter is the exact global
  gradient already (the transpose of using it on every device is a `psum`); `lax.pmean` leaves it.

So both habits are right everywhere, and no loss needs to know where it runs. What a loss must
never do is scale by the number of devices, or average means.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

AxisName = str | tuple[str, ...] | None


def sum_over(axis_name: AxisName, values: Any) -> Any:
    """Every array of `values` summed over the devices of `axis_name`; as it is without one."""
    return values if axis_name is None else jax.lax.psum(values, axis_name)


def zero_of(*arrays: Array) -> Float[Array, ""]:
    """The number 0 that varies over the same mesh axes as the arrays: a start for `lax.scan`.

    With check_vma on, a loop's carry must vary from the start; the sum of an empty slice does.
    """
    return sum((array[:0].sum().astype(jnp.float32) for array in arrays), jnp.zeros(()))
