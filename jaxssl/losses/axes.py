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

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

AxisName = str | tuple[str, ...] | None


def sum_over(axis_name: AxisName, values: Any) -> Any:
    """Every array of `values` summed over the devices of `axis_name`; as it is without one."""
    return values if axis_name is None else jax.lax.psum(values, axis_name)


def weighted_mean(
    total: Float[Array, ""],
    weight: Float[Array, ""],
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """total / weight, each summed over the devices first; 0 where the weight is 0."""
    total, weight = sum_over(axis_name, (total, weight))
    if not normalize:
        return total
    return jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1.0), 0.0)


def sum_weighted(values: Float[Array, "*rows"], weights: Float[Array, "*rows"]) -> Float[Array, ""]:
    """sum_i w_i x_i, where an x of weight 0 may be anything, NaN too.

    The gradient by x is clean as well only if x was made from what `keep_used` left.
    """
    return jnp.where(weights > 0, values * weights.astype(values.dtype), 0).sum()


def keep_used(array: Array, weights: Float[Array, "*rows"]) -> Array:
    """Zeros in place of what has weight 0, so that no NaN of it reaches a gradient (0 x NaN)."""
    used = weights > 0
    return jnp.where(used.reshape(used.shape + (1,) * (array.ndim - used.ndim)), array, 0)


def zero_of(*arrays: Array) -> Float[Array, ""]:
    """The number 0 that varies over the same mesh axes as the arrays: a start for `lax.scan`.

    With check_vma on, a loop's carry must vary from the start; the sum of an empty slice does.
    """
    return sum((array[:0].sum().astype(jnp.float32) for array in arrays), jnp.zeros(()))


def softmax_type(*arrays: Array) -> Any:
    """float32, or float64 where that is what comes in."""
    return jnp.promote_types(jnp.float32, jnp.result_type(*arrays))


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


def with_formed_gradient(
    value: Callable[..., tuple[Array, Any]],
    value_and_gradient: Callable[..., tuple[tuple[Array, Any], tuple[Array, ...]]],
    arrays: tuple[Array, ...],
    constants: Any,
    *,
    sum_axis: AxisName = None,
) -> tuple[Array, Any]:
    """value(arrays, constants) -> (scalar, aux), whose gradient is made together with the value.

    Where nothing is differentiated only `value` runs. Where something is, `value_and_gradient`
    runs in the forward pass, and what is left is linear: tangent = sum_k <gradient_k, tangent_k>,
    so jvp, vjp, vmap and checkpoint all work. The inner products are summed over `sum_axis`, for
    gradients that are parts there.
    """

    @jax.custom_jvp
    def scalar(arrays: tuple[Array, ...], constants: Any) -> tuple[Array, Any]:
        return value(arrays, constants)

    def rule(primals: Any, tangents: Any) -> Any:
        (total, aux), gradients = value_and_gradient(*primals)
        pairs = zip(gradients, tangents[0], strict=True)
        products = [_inner(g, t) for g, t in pairs if not isinstance(t, SymbolicZero)]
        aux_tangent = jax.tree.map(_zero_tangent, aux)
        if not products:
            return (total, aux), (jnp.zeros_like(total) + zero_of(total[None]), aux_tangent)
        tangent = sum_over(sum_axis, sum(products[1:], products[0]))
        return (total, aux), (tangent.astype(total.dtype), aux_tangent)

    scalar.defjvp(rule, symbolic_zeros=True)
    return scalar(arrays, constants)


def _zero_tangent(array: Array) -> Any:
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return SymbolicZero(jax.typeof(array).to_tangent_aval())
    return jnp.zeros_like(array) + zero_of(array[None])


def _inner(gradient: Array, tangent: Array) -> Array:
    kind = softmax_type(gradient)
    return jnp.vdot(gradient, tangent.astype(gradient.dtype), preferred_element_type=kind)
