"""Accumulation that keeps the negatives: k microbatches of m give the gradient of one batch of k m.

    1. e_p = embed(params, part p, key p)              every part, no gradient kept
    2. g   = d contrast(params, e) / d e               all embeddings at once, they are small
    3. sum_p  g_p . d e_p / d params                   every part again, with the same key

Gao et al. 2021 (Scaling Deep Contrastive Learning under Memory Limited Setup), section 3. Memory is that of
one part's activations and of all embeddings; time is one more forward pass.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


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
    """Value and gradient by `params` of contrast(params, embed(params, batch, key)), in microbatches.

    Gao et al. 2021, section 3.

    `embed(params, part, key)` gives a tree of arrays whose first axis is the part's rows; it may depend
    on nothing but its own rows (no batch normalisation). Part p gets `fold_in(key, p)` both times, so
    dropout is replayed. `contrast(params, embeddings)` gives the scalar of the whole batch, from all
    embeddings in the order of the batch; a trained temperature may be in `params`. Inside a mapped
    function `contrast` is given its `axis_name`, and the gradient follows the convention of all losses.

    With `has_aux`, `contrast` gives (scalar, anything), and so does the value that comes back, as with
    `jax.value_and_grad`. With `interleave`, part p has rows p, p + microbatches, … instead of the p-th
    stretch: of a batch that is cut over devices every part then has rows of each, and nothing moves.

    Raises ValueError where the rows cannot be cut into `microbatches` equal parts.

    >>> import jax.numpy as jnp
    >>> from jaxssl import losses
    >>> embed = lambda matrix, rows, key: rows @ matrix
    >>> contrast = lambda matrix, z: losses.info_nce(z[:, :2], z[:, 2:], temperature=1.0)
    >>> rows = jnp.arange(8.0).reshape(4, 2)
    >>> value, gradient = cached_gradients(embed, contrast, jnp.eye(2, 4), rows, microbatches=2)
    >>> value.shape, gradient.shape
    ((), (2, 4))
    """

    def cut(tree: Any) -> Any:
        return jax.tree.map(lambda array: _cut(array, microbatches, interleave), tree)

    parts, numbers = cut(batch), jnp.arange(microbatches)

    def embed_part(params: Any, part: Any, number: Array) -> Any:
        return embed(params, part, None if key is None else jax.random.fold_in(key, number))

    def look(_: None, part: tuple[Any, Array]) -> tuple[None, Any]:
        return None, embed_part(params, *part)

    _, embedded = jax.lax.scan(look, None, (parts, numbers))
    embeddings = jax.tree.map(lambda array: _join(array, interleave), embedded)
    differentiate = jax.value_and_grad(contrast, (0, 1), has_aux=has_aux)
    value, (gradient, pulls) = differentiate(params, embeddings)

    def replay(total: Any, part: tuple[Any, Array, Any]) -> tuple[Any, None]:
        rows, number, pull = part
        _, transpose = jax.vjp(lambda params: embed_part(params, rows, number), params)
        return jax.tree.map(jnp.add, total, transpose(pull)[0]), None

    gradient, _ = jax.lax.scan(replay, gradient, (parts, numbers, cut(pulls)))
    return value, gradient


def _cut(array: Array, count: int, interleave: bool) -> Array:
    """[rows, ...] -> [parts, rows of a part, ...]."""
    if count < 1 or array.shape[0] % count:
        raise ValueError(
            f"{array.shape[0]} rows of an array {array.shape} cannot be cut into {count} equal "
            "microbatches"
        )
    if interleave:
        return jnp.moveaxis(array.reshape(-1, count, *array.shape[1:]), 1, 0)
    return array.reshape(count, -1, *array.shape[1:])


def _join(parts: Array, interleave: bool) -> Array:
    """What `_cut` has cut, in the order of the rows."""
    parts = jnp.moveaxis(parts, 0, 1) if interleave else parts
    return parts.reshape(-1, *parts.shape[2:])
