"""Mapped axes: sums over devices, and the convention by which gradients are exact on any number of them.

A mapped axis is the one that `pmap`, `vmap(axis_name=)` or `shard_map` gives a name to. Every loss
that takes an `axis_name` adds up its numerators and its denominators on each device, and only these
sums are exchanged between devices, by `psum`. The value is therefore that of the global batch, on
every device. Its gradient is right for both habits:

- `jax.grad` outside the mapped function is the exact gradient of the global loss.
- Inside the mapped function, `lax.pmean(jax.grad(loss)(params, ...), axis_name)` is, for parameters
  that are replicated on all devices. Under `pmap`, `vmap` and `shard_map(check_vma=False)` the
  transpose of `psum` is again `psum`, so on each of n devices `jax.grad` is n times the device's
  contribution, and the mean over devices is their sum. Under `shard_map(check_vma=True)` the
  transpose of using a replicated parameter already sums over the devices, so `jax.grad` is exact
  and equal on all of them, and the mean leaves it as it is.

There is one exception: parameters that were made to vary, `jax.lax.pcast(params, axis_name,
to="varying")`, inside `shard_map(check_vma=True)`. For each device they are parameters of its own, so
`jax.grad` gives that device's contribution alone, and the gradient of the global batch is their sum:
`lax.psum(gradient, axis_name)`. The mean over n devices would be 1/n of it. A loss cannot tell, since
it sees logits or embeddings, which vary in either case.

A loss must therefore never multiply by the number of devices, and never average means of devices.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

AxisName = str | tuple[str, ...] | None


def sum_over(axis_name: AxisName, values: Any) -> Any:
    """Sums every array of the pytree `values` over the devices of `axis_name`; `None` changes nothing."""
    return values if axis_name is None else jax.lax.psum(values, axis_name)


def zero_of(*arrays: Array) -> Float[Array, ""]:
    """Returns the scalar 0, float32, as a value that varies over the same mesh axes as the given arrays.

    `shard_map(check_vma=True)` records for every value over which mesh axes it may differ between
    devices, and the carry of `lax.scan` must have the same record before and after a step. The sum
    of an empty slice of each array is 0 and has its record, so a carry can be initialised from it.
    """
    return sum((array[:0].sum().astype(jnp.float32) for array in arrays), jnp.zeros(()))
