"""Gradients of an objective over a global batch that is split into microbatches.

Weights are normalised over the global batch before it is split, so gradients add up exactly: the result does
not depend on the number of microbatches or devices, however unevenly tokens are masked. The exceptions are
dropout, whose masks are drawn for each microbatch, and batch norms inside an encoder, which normalise over
one microbatch. Contrastive objectives, whose loss is not a sum over rows, are accumulated in two passes
(`losses.cached_gradients`).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl import losses
from jaxssl.objectives.batches.batch import Metric
from jaxssl.objectives.contract import ContrastiveObjective

Tree = Any
Metrics = dict[str, Metric]


def gradients_of(
    objective: Any, model: Tree, carried: Tree, examples: Tree, key: Array, microbatches: int
) -> tuple[Tree, Tree, Metrics]:
    """Computes the gradients of an objective's loss over all examples of a global batch.

    Args:
      objective: An `Objective`; a `ContrastiveObjective` is accumulated in two passes.
      model: Parameters, a pytree.
      carried: State of the objective that is not differentiated.
      examples: Pytree of arrays whose first axis is the rows of the batch.
      key: Random key of the step.
      microbatches: Number of parts that the rows are split into, one after another.

    Returns:
      Gradients in the form of `model`, the new carried state, and metrics by name.
    """
    if microbatches == 1 or not isinstance(objective, ContrastiveObjective):
        return accumulate(objective.loss, model, carried, examples, key, microbatches)
    (_, (carried, metrics)), gradients = losses.cached_gradients(
        lambda model, part, key: objective.embed(model, carried, part, key),
        lambda model, embeddings: objective.contrast(model, carried, embeddings, examples),
        model,
        examples,
        key,
        microbatches=microbatches,
        has_aux=True,
        interleave=True,
    )
    return gradients, carried, metrics


def accumulate(
    loss: Callable[..., Any],
    model: Tree,
    carried: Tree,
    examples: Tree,
    key: Array,
    microbatches: int,
) -> tuple[Tree, Tree, Metrics]:
    """Computes the gradients of a loss over all examples as a plain sum over microbatches, in float32.

    Args:
      loss: Function of (model, carried, examples, key) that returns (scalar, (carried, metrics)).
      model: Parameters, a pytree.
      carried: State that is passed from microbatch to microbatch and not differentiated.
      examples: Pytree of arrays whose first axis is the rows of the batch.
      key: Random key; every microbatch gets one of its own.
      microbatches: Number of parts that the rows are split into.

    Returns:
      Gradients in the form of `model`, the new carried state, and the sums of the metrics.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)
    if microbatches == 1:
        (_, (carried, metrics)), gradients = gradient(model, carried, examples, key)
        return gradients, carried, metrics

    def split(array: Float[Array, "batch ..."]) -> Float[Array, "micro rows ..."]:
        # Every microbatch takes rows of every device, so that nothing moves between devices.
        rows = array.reshape(-1, microbatches, *array.shape[1:])
        return jnp.moveaxis(rows, 1, 0)

    def add(sums: Any, numbered: Any) -> tuple[Any, None]:
        gradients, carried, metrics = sums
        number, part = numbered
        (_, (carried, more)), grown = gradient(
            model, carried, part, jax.random.fold_in(key, number)
        )
        gradients = jax.tree.map(lambda a, b: a + b.astype(a.dtype), gradients, grown)
        return (gradients, carried, jax.tree.map(jnp.add, metrics, more)), None

    parts = jax.tree.map(split, examples)
    first = jax.tree.map(lambda part: part[0], parts)
    shapes = jax.eval_shape(loss, model, carried, first, key)[1][1]
    zero_metrics = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), model)
    numbers = jnp.arange(microbatches)
    sums, _ = jax.lax.scan(add, (zeros, carried, zero_metrics), (numbers, parts))
    return sums
