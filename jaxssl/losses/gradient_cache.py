"""Gradient accumulation for contrastive losses: k microbatches of m rows give the gradient of k m rows.

Plain accumulation would compare an embedding only with those of its own microbatch. The gradient
cache keeps all negatives of the batch, in three steps:

    1. e_p = embed(params, part p, key p)         for every microbatch p; no activations are kept
    2. g   = d contrast(params, e) / d e          over the embeddings of all microbatches at once
    3. sum_p g_p . d e_p / d params               for every microbatch again, with the same key

Memory is that of the activations of one microbatch and of all embeddings; time is one more forward
pass.

Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup",
section 3.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxssl.losses.arguments import check_count
from jaxssl.losses.precision import softmax_type


def cached_gradients(
    embed: Callable[[Any, Any, Array | None], Any],
    contrast: Callable[[Any, Any], Any],
    params: Any,
    batch: Any,
    key: Array | None = None,
    *,
    microbatches: int,
    has_aux: bool = False,
    interleave: bool = False,
) -> tuple[Any, Any]:
    """Computes the value and the gradient of `contrast(params, embed(params, batch, key))` in microbatches.

    Args:
      embed: Function of (params, part, key) that returns a pytree of embeddings, whose first axis
        is that of the rows of the part. A row's embedding may depend on that row alone (no batch
        normalisation).
      contrast: Function of (params, embeddings) that returns the scalar loss of the whole batch, from
        all embeddings in the order of the batch. A trained temperature may be in `params`. Inside a
        mapped function, give the loss in `contrast` its `axis_name`; the gradient then follows the
        convention of `jaxssl.losses.axes`.
      params: Pytree of arrays by which to differentiate.
      batch: Pytree of arrays `[rows, ...]`.
      key: Random key, for dropout for instance. Microbatch p receives `fold_in(key, p)` in both
        passes, so that the same units are dropped. `None` passes None.
      microbatches: Number of equal parts into which the rows are split.
      has_aux: Whether `contrast` returns (scalar, anything), as for `jax.value_and_grad`.
      interleave: Whether microbatch p has the rows p, p + microbatches, … instead of the p-th
        contiguous part. If the batch is sharded over devices, every microbatch then has rows of
        each device, and none are moved.

    Returns:
      The value of `contrast` (with its auxiliary output where `has_aux`), and the gradient, a
      pytree like `params`.

    Raises:
      ValueError: `microbatches` is no integer of at least 1, or the rows cannot be split into as many
        equal parts.

    References:
      Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup",
      section 3.

    >>> import jax.numpy as jnp
    >>> from jaxssl import losses
    >>> embed = lambda matrix, rows, key: rows @ matrix
    >>> contrast = lambda matrix, z: losses.info_nce(z[:, :2], z[:, 2:], temperature=1.0)
    >>> rows = jnp.arange(8.0).reshape(4, 2)
    >>> value, gradient = cached_gradients(embed, contrast, jnp.eye(2, 4), rows, microbatches=2)
    >>> value.shape, gradient.shape
    ((), (2, 4))
    """

    check_count(microbatches, "microbatches", "1 takes the whole batch at once")

    def split(tree: Any) -> Any:
        return jax.tree.map(lambda array: _split(array, microbatches, interleave), tree)

    parts, numbers = split(batch), jnp.arange(microbatches)

    def embed_part(params: Any, part: Any, number: Array) -> Any:
        return embed(params, part, None if key is None else jax.random.fold_in(key, number))

    def embed_next(_: None, part: tuple[Any, Array]) -> tuple[None, Any]:
        return None, embed_part(params, *part)

    _, embedded = jax.lax.scan(embed_next, None, (parts, numbers))
    embeddings = jax.tree.map(lambda array: _join(array, interleave), embedded)
    differentiate = jax.value_and_grad(contrast, (0, 1), has_aux=has_aux)
    value, (gradient, cotangents) = differentiate(params, embeddings)

    def replay(total: Any, part: tuple[Any, Array, Any]) -> tuple[Any, None]:
        """Embeds one microbatch again, and adds its part of the gradient to the total."""
        rows, number, cotangent = part
        _, transpose = jax.vjp(lambda params: embed_part(params, rows, number), params)
        return jax.tree.map(
            lambda sum, g: sum + g.astype(sum.dtype), total, transpose(cotangent)[0]
        ), None

    # Summed in float32: in bfloat16 a sum of more than 256 equal parts does not grow any more.
    wide = jax.tree.map(lambda g: g.astype(softmax_type(g)), gradient)
    wide, _ = jax.lax.scan(replay, wide, (parts, numbers, split(cotangents)))
    return value, jax.tree.map(lambda sum, g: sum.astype(g.dtype), wide, gradient)


def _split(array: Array, count: int, interleave: bool) -> Array:
    """Splits an array `[rows, ...]` into microbatches `[parts, rows of a part, ...]`."""
    if array.shape[0] % count:
        raise ValueError(
            f"{array.shape[0]} rows of an array {array.shape} cannot be split into {count} equal "
            "microbatches"
        )
    if interleave:
        return jnp.moveaxis(array.reshape(-1, count, *array.shape[1:]), 1, 0)
    return array.reshape(count, -1, *array.shape[1:])


def _join(parts: Array, interleave: bool) -> Array:
    """Joins microbatches to one array in the order of the rows: the inverse of `_split`."""
    parts = jnp.moveaxis(parts, 0, 1) if interleave else parts
    return parts.reshape(-1, *parts.shape[2:])
