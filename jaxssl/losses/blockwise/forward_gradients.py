"""Scalar functions whose gradient is computed together with their value, in the forward pass.

By default JAX keeps the intermediate results of the forward pass for the backward pass. For a loss
over a very large matrix of logits that is the matrix itself. But the loss is a scalar, so its
gradient with respect to the inputs can be computed at once, while a block of logits exists; the
backward pass then only multiplies it by the cotangent of the scalar. What is kept is the gradient,
which has the size of the inputs.

Wijmans et al. 2025, "Cut your losses in large-vocabulary language models", section 4, form the
gradient of a vocabulary head in the same way in a GPU kernel.
"""

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
    """Evaluates `value(arrays, constants)`, with a derivative rule that uses `value_and_gradient`.

    If nothing is differentiated, only `value` runs. Otherwise `value_and_gradient` runs in its
    place and gives the gradient of the scalar with respect to each of `arrays`. The rule of
    differentiation is then linear:

        tangent of the scalar = sum_k <gradient_k, tangent_k>

    It is a `jax.custom_jvp` rule. JAX derives the reverse mode from it by transposition (cotangent
    of array k = gradient_k times the cotangent of the scalar), so that `jvp`, `vjp`, `vmap` and
    `jax.checkpoint` all work.

    Args:
      value: Function of (arrays, constants) that returns (scalar, aux), where aux is any pytree.
      value_and_gradient: Function of (arrays, constants) that returns ((scalar, aux), gradients),
        with one gradient for each array, of its shape and of its `gradient_type`.
      arrays: Arrays that may be differentiated.
      constants: Pytree that is not differentiated.
      sum_axis: Mapped axis over which the inner products are summed, where each device holds only a
        part of the gradients (for instance of a kernel that is sharded along the vocabulary).
        `None` if each device has the whole.

    Returns:
      The pair (scalar, aux). The tangent of aux is zero.
    """

    @jax.custom_jvp
    def scalar(arrays: tuple[Array, ...], constants: Any) -> tuple[Array, Any]:
        """The function itself; this body runs where nothing is differentiated."""
        return value(arrays, constants)

    def rule(primals: Any, tangents: Any) -> Any:
        """The derivative rule. An array that is not differentiated has a symbolic zero as its tangent."""
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
    """The tangent of an auxiliary output: zero, over the mesh axes over which the output varies."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return SymbolicZero(jax.typeof(array).to_tangent_aval())
    return jnp.zeros_like(array) + zero_of(array[None])


def _inner(gradient: Array, tangent: Array) -> Array:
    """The inner product of a gradient and a tangent, summed in float32."""
    kind = softmax_type(gradient)
    return jnp.vdot(gradient, tangent.astype(gradient.dtype), preferred_element_type=kind)
