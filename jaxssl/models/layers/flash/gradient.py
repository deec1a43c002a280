"""Joins the two kernels to a function that has a gradient."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array

from jaxssl.models.layers.flash.backward import backward
from jaxssl.models.layers.flash.blocks import WINDOW, Inputs, Options, Turns, touching
from jaxssl.models.layers.flash.forward import forward
from jaxssl.models.layers.fused_attention import KEPT

HELD = 1 << 22  # bytes of the chip's memory, 16 MiB on v5e, for the gradient of queries


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def attend(
    options: Options,
    queries: Array,
    keys: Array,
    values: Array,
    segments: Array,
    key_segments: Array,
    prefix: Array | None,
    scalars: Array,
    turns: Turns | None,
) -> Array:
    """Computes attention of arrays that are whole tiles.

    Args:
      options: What is known while tracing.
      queries: Queries, already scaled, `[batch, length, width]`; heads are side by side, in whole tiles.
      keys: Keys, `[batch, key_length, width]`.
      values: Values, of the shape of the keys.
      segments: Document number of every query, 0 for padding, `[batch, whole blocks]`.
      key_segments: Document number of every key, `[batch, whole blocks]`.
      prefix: Keys that are seen in spite of causality, bool `[batch, whole blocks]`, or `None`.
      scalars: Window, first row, first head and the two words of dropout's key, int32 `[5]`.
      turns: Rotary angles of queries and keys, or `None`.

    Returns:
      The mixed values, `[batch, length, width]`.
    """
    return _attend(options, queries, keys, values, segments, key_segments, prefix, scalars, turns)[
        0
    ]


def _attend(options: Options, *arrays: Any) -> tuple[Array, Any]:
    queries, keys, values, segments, key_segments, prefix, scalars, turns = arrays
    marks = 2 * key_segments + (0 if prefix is None else prefix.astype(jnp.int32))
    seen = jnp.where(segments == 0, -1, segments)
    touches = touching(
        segments,
        key_segments,
        options.blocks,
        causal=options.causal and not options.prefixed,
        window=scalars[WINDOW] if options.windowed else None,
    )
    inputs = Inputs(queries, keys, values, seen[:, None], marks[:, None], scalars, touches, turns)
    mixed, logarithms = (checkpoint_name(x, KEPT) for x in forward(options, inputs))
    return mixed, (inputs, mixed, logarithms)


def _gradients(options: Options, kept: Any, cotangent: Array) -> tuple[Array | None, ...]:
    inputs, mixed, logarithms = kept
    length, block = inputs.queries.shape[1], options.blocks[0]
    parts: list[Array] = []
    others: list[tuple[Array, Array]] = []
    size = queries_held(options, inputs.queries.dtype)
    for start in range(0, length, size):
        rows, blocks = (slice(start // n, (start + size) // n) for n in (1, block))
        turns = inputs.turns
        piece = inputs._replace(
            queries=inputs.queries[:, rows],
            segments=inputs.segments[:, :, rows],
            touches=inputs.touches[:, blocks],
            turns=None if turns is None else turns._replace(of_queries=turns.of_queries[blocks]),
        )
        of_queries, of_keys, of_values = backward(
            options,
            piece,
            mixed[:, rows],
            logarithms[:, :, :, rows],
            cotangent[:, rows],
            first_query=start,
        )
        parts.append(of_queries)
        others.append((of_keys, of_values))
    if len(parts) == 1:
        return parts[0], *others[0], None, None, None, None, None
    added = [
        sum(x.astype(jnp.float32) for x in one).astype(inputs.keys.dtype)
        for one in zip(*others, strict=True)
    ]
    return jnp.concatenate(parts, axis=1), *added, None, None, None, None, None


def queries_held(options: Options, dtype: Any) -> int:
    """Chooses for how many queries of a row the gradient stays on the chip until all keys have passed.

    It is there as a float32 sum, and twice in the type of the queries while it is written.

    Args:
      options: What is known while tracing.
      dtype: Type of the queries.

    Returns:
      Whole blocks of queries, at least one.
    """
    block, size = options.blocks[0], jnp.dtype(dtype).itemsize
    return max(1, HELD // (options.lanes * (4 + 2 * size)) // block) * block


attend.defvjp(_attend, _gradients)
