"""A sum of logistic losses over all pairs of a batch, tile by tile, with gradients of the forward pass.

    total = sum_ij (w_i + w_j) / 2 log(1 + exp(-y_ij (s_ij + bias)))      y_ij = 1 where i = j, else -1

    d total / d s_ij = -y_ij (w_i + w_j) / 2 sigmoid(-y_ij (s_ij + bias))

with s_ij = scale * a_i . b_j, over pairs that both have weight. This is the loss of SigLIP.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxssl.losses.axes import AxisName
from jaxssl.losses.blockwise.forward_gradients import with_formed_gradient
from jaxssl.losses.blockwise.pair_tiles import (
    Columns,
    RowBlock,
    TileOptions,
    allowed_pairs,
    columns_of,
    from_blocks,
    own_pairs,
    pair_gradients,
    row_blocks,
    scan_blocks,
    similarities,
    tied_to_step,
    varying_zero,
)
from jaxssl.losses.blockwise.ring import around_ring
from jaxssl.losses.precision import gradient_type


def sum_of_logistics(
    a: Float[Array, "n dim"],
    b: Float[Array, "n dim"],
    weights: Float[Array, " n"],
    scale: Float[Array, ""],
    bias: Float[Array, ""],
    *,
    block: int,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    """Computes this device's part of the sum of logistic losses over all pairs.

    The parts are exact only when they are summed over the devices, both value and gradient.

    Args:
      a: Unit vectors of this device, `[n, dim]`: the rows.
      b: Unit vectors of this device, `[n, dim]`: the columns; b_i is the partner of a_i.
      weights: Non-negative weights of the pairs (a_i, b_i), `[n]`.
      scale: Factor of the similarities, a scalar: 1 / temperature.
      bias: Number added to every logit, a scalar.
      block: Rows of a tile.
      axis_name: Mapped axis over which the pairs are sharded.

    Returns:
      Scalar part of the sum, float32.
    """
    options = TileOptions(max(1, min(block, a.shape[0])), axis_name, is_same=False, is_both=False)
    return with_formed_gradient(
        partial(_logistic_value, options),
        partial(_logistic_gradient, options),
        (a, b, scale, bias),
        weights,
    )[0]


def _logistic_tile(
    options: TileOptions, step: Array, rows: RowBlock, columns: Columns, scale: Array, bias: Array
) -> tuple[Array, Array, Array, Array]:
    """Similarities, logits times -y, weights of the pairs, and the mask of partners, each a tile."""
    is_own = own_pairs(rows, columns) & (step == 0)
    mean = (rows.weights[:, None] + columns.weights[None]) / 2
    weights = jnp.where(allowed_pairs(options, step, rows, columns), mean, 0.0)
    cosines = similarities(rows, columns)
    logits = cosines * scale + bias
    return cosines, jnp.where(is_own, -logits, logits), weights, is_own


def _logistic_value(
    options: TileOptions, arrays: tuple[Array, ...], weights: Array
) -> tuple[Array, tuple[()]]:
    """The value alone, for `with_formed_gradient`. `arrays` are (a, b, scale, bias)."""
    a, b, scale, bias = arrays
    zero = varying_zero(options, a, b, weights, scale, bias)
    blocks = row_blocks(options.block, a, weights, weights)

    def visit(step: Array, total: Array, columns: Columns) -> tuple[Array, Columns]:
        def add(total: Array, block: tuple[RowBlock, tuple[()]]) -> tuple[Array, tuple[()]]:
            _, logits, pairs, _ = _logistic_tile(options, step, block[0], columns, scale, bias)
            return total + (pairs * jax.nn.softplus(logits)).sum(), ()

        return scan_blocks(add, total, tied_to_step(step, blocks), ())[0], columns

    columns = columns_of(b, weights, weights, zero)
    return around_ring(visit, zero, columns, options.axis_name)[0], ()


def _logistic_gradient(
    options: TileOptions, arrays: tuple[Array, ...], weights: Array
) -> tuple[tuple[Array, tuple[()]], tuple[Array, ...]]:
    """The value and the gradients with respect to `arrays`, for `with_formed_gradient`."""
    a, b, scale, bias = arrays
    zero = varying_zero(options, a, b, weights, scale, bias)

    def derivative(step: Array, rows: RowBlock, columns: Columns) -> tuple[Array, Array]:
        """The similarities of a tile, and d total / d s_ij, `[block, columns]`."""
        cosines, logits, pairs, is_own = _logistic_tile(options, step, rows, columns, scale, bias)
        derivatives = pairs * jax.nn.sigmoid(logits)
        return cosines, jnp.where(is_own, -derivatives, derivatives)

    to_a, to_b, to_scale, to_bias = pair_gradients(
        options,
        derivative,
        row_blocks(options.block, a, weights, weights),
        columns_of(b, weights, weights, zero),
        (jnp.zeros(b.shape, zero.dtype) + zero, zero, zero),
    )
    total = _logistic_value(options, arrays, weights)
    to_a = (from_blocks(to_a, a.shape[0]) * scale).astype(gradient_type(a))
    to_b = (to_b * scale).astype(gradient_type(b))
    return total, (to_a, to_b, to_scale.astype(scale.dtype), to_bias.astype(bias.dtype))
