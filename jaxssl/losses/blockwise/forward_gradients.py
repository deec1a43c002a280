"""Scalars whose gradient is formed in the forward pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from jaxssl.losses.axes import AxisName, sum_over, zero_of
from jaxssl.losses.precision import softmax_type


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
