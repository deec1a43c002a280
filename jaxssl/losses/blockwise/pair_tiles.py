"""Tiles of the similarity matrix of all pairs of a batch, without ever holding the whole matrix.

    s_ij = scale * a_i . b_j        a, b   `[n, dim]` unit vectors of this device: rows i and columns j
                                    tile   `[block, n]`: some rows of this device, columns of one device

Rows stay on their device and are taken `block` at a time by `lax.scan`. Columns travel around a
ring of all devices (`ring.around_ring`), together with what is accumulated for them: running maxima
and sums, or gradients. After a full round they are back on their own device.

Here are the tiles and the gradient of any sum over them; `pair_log_sums` and `pair_logistics` are
the two sums that the contrastive losses need.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.losses.axes import AxisName, zero_of
from jaxssl.losses.blockwise.ring import around_ring
from jaxssl.losses.precision import NOTHING, softmax_type


class RowBlock(NamedTuple):
    """Rows of this device in blocks, for `lax.scan`; inside the scan, one block without the first axis."""

    vectors: Float[Array, "*blocks block dim"]
    """Unit vectors."""
    weights: Float[Array, "*blocks block"]
    """Weight of every row. Rows of weight 0, and the padding of the last block, take part in no pair."""
    log_sums: Float[Array, "*blocks block"]
    """log sum_j exp(s_ij) of every row, if it is known already (in the second round, for gradients)."""
    numbers: Int[Array, "*blocks block"]
    """Number of every row on this device, by which a row recognises the column that is its own partner."""


class Columns(NamedTuple):
    """The columns of one device, which travel around the ring."""

    vectors: Float[Array, "columns dim"]
    """Unit vectors."""
    weights: Float[Array, " columns"]
    """Weight of every column. Columns of weight 0 take part in no pair."""
    log_sums: Float[Array, " columns"]
    """Logarithm of the sum of every column, if it is known already; see `RowBlock.log_sums`."""


class RunningLogSum(NamedTuple):
    """A sum of exponentials that grows tile by tile; kept as exp(top) * total, it does not overflow."""

    top: Float[Array, " n"]
    """Largest logit so far."""
    total: Float[Array, " n"]
    """Sum of exp(logit - top) so far."""

    def add(self, tile: Array, axis: int) -> "RunningLogSum":
        """Returns the sum extended by the logits of `tile`, `[block, columns]`, summed along `axis`."""
        top = jnp.maximum(self.top, tile.max(axis=axis, initial=NOTHING))
        grown = jnp.exp(tile - jnp.expand_dims(top, axis)).sum(axis=axis)
        return RunningLogSum(top, self.total * jnp.exp(self.top - top) + grown)

    def log(self) -> Array:
        """Returns the logarithm of the sum, `[n]`: a finite number below -1e29 where nothing was added."""
        return self.top + jnp.log(jnp.where(self.total > 0, self.total, 1.0))


class TileOptions(NamedTuple):
    """Options of a sum over all pairs that are fixed while its program is traced."""

    block: int
    """Rows of a tile."""
    axis_name: AxisName
    """Mapped axis of the devices. `None` for one device."""
    is_same: bool
    """Whether the columns are the rows themselves. A row is then not paired with itself."""
    is_both: bool
    """Whether the logarithms of the sums of the columns are added as well (the symmetric loss)."""


def varying_zero(options: TileOptions, *arrays: Array) -> Array:
    """Returns the scalar 0 that varies over the mesh axes of `arrays` and over the ring's, as in `options`.

    It initialises the carries of loops, which must vary from the start (see `axes.zero_of`).
    """
    zero = zero_of(*(jnp.atleast_1d(array) for array in arrays))
    if options.axis_name is not None:
        zero += (0 * jax.lax.axis_index(options.axis_name)).astype(zero.dtype)
    return zero.astype(softmax_type(*arrays))


def to_blocks(block: int, array: Array) -> Array:
    """Splits `array`, `[n, ...]`, into blocks `[blocks, block, ...]`, padded with zeros at the end."""
    padding = [(0, -array.shape[0] % block)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding).reshape(-1, block, *array.shape[1:])


def row_blocks(block: int, vectors: Array, weights: Array, log_sums: Array) -> RowBlock:
    """Splits the rows of this device into blocks and numbers them.

    Args:
      block: Rows of a block.
      vectors: Unit vectors, `[n, dim]`.
      weights: Weight of every row, `[n]`.
      log_sums: Logarithm of the sum of every row, `[n]`; any array of this shape where it is not
        needed.

    Returns:
      The blocks, with leading axes `[blocks, block]`.
    """
    parts = [to_blocks(block, array) for array in (vectors, weights, log_sums)]
    numbers = jnp.arange(parts[0].shape[0] * block).reshape(-1, block)
    return RowBlock(parts[0], parts[1], parts[2], numbers)


def from_blocks(blocks: Array, count: int) -> Array:
    """Joins `blocks`, `[blocks, block, ...]`, to `[count, ...]`, without the padding."""
    return blocks.reshape(-1, *blocks.shape[2:])[:count]


def scan_blocks(add: Any, sums: Any, blocks: RowBlock, states: Any) -> tuple[Any, Any]:
    """Calls `add` for every block in turn, and skips blocks without any weight.

    Args:
      add: Function of (sums, (rows, state)) that returns (sums, state).
      sums: Pytree that is passed from block to block.
      blocks: Rows, with leading axes `[blocks, block]`.
      states: Pytree of arrays with a leading axis `[blocks]`: what belongs to each block by itself.

    Returns:
      The pair (sums, states).
    """

    def visit(sums: Any, block: tuple[RowBlock, Any]) -> tuple[Any, Any]:
        is_used = (block[0].weights > 0).any()
        return jax.lax.cond(is_used, add, lambda sums, block: (sums, block[1]), sums, block)

    return jax.lax.scan(visit, sums, (blocks, states))


def tied_to_step(step: Array, blocks: RowBlock) -> RowBlock:
    """Returns the same `blocks`, as values that formally depend on `step`, a step of the ring.

    `jax.grad` moves computations out of a scan that depend on its constants alone (JAX 0.10 to
    0.12). In the scan over the steps of the ring these would be the masks of all tiles at once, a
    matrix of all pairs of a device. Adding 0 * step prevents that.
    """
    zero = 0 * step
    weights = blocks.weights + zero.astype(blocks.weights.dtype)
    return blocks._replace(weights=weights, numbers=blocks.numbers + zero)


def similarities(rows: RowBlock, columns: Columns) -> Array:
    """Returns the products a_i . b_j of `rows` and `columns`, `[block, columns]`, summed in float32."""
    kind = softmax_type(rows.vectors)
    return jnp.einsum("id,jd->ij", rows.vectors, columns.vectors, preferred_element_type=kind)


def allowed_pairs(
    options: TileOptions, step: Array, rows: RowBlock, columns: Columns
) -> Bool[Array, "i j"]:
    """Marks the pairs of a tile that count: both have weight, and no row is paired with itself.

    Args:
      options: Options of the tiles, which say whether rows and columns are the same vectors.
      step: Step of the ring; at step 0 the columns are those of this device.
      rows: One block of rows.
      columns: The columns that have arrived.

    Returns:
      Mask, bool `[block, columns]`.
    """
    is_valid = (rows.weights > 0)[:, None] & (columns.weights > 0)[None]
    if not options.is_same:
        return is_valid
    return is_valid & ~(own_pairs(rows, columns) & (step == 0))


def own_pairs(rows: RowBlock, columns: Columns) -> Bool[Array, "i j"]:
    """Marks where a row of `rows` has the number of a column of `columns`, bool `[block, columns]`.

    These are partners (or a row and itself) only at step 0 of the ring, where the columns are the
    device's own.
    """
    return rows.numbers[:, None] == jnp.arange(columns.weights.shape[0])[None]


def columns_of(b: Array, weights: Array, log_sums: Array, zero: Array) -> Columns:
    """Makes the columns of this device.

    Args:
      b: Unit vectors, `[n, dim]`.
      weights: Weight of every column, `[n]`.
      log_sums: Logarithm of the sum of every column, `[n]`; any array of this shape where it is not
        needed.
      zero: Result of `varying_zero`, added to all arrays so that they may be carried through the
        ring.

    Returns:
      The columns, to be passed around the ring.
    """
    return Columns(b + zero.astype(b.dtype), weights + zero, log_sums + zero)


def pair_gradients(
    options: TileOptions,
    derivative: Any,
    blocks: RowBlock,
    columns: Columns,
    start: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array, Array]:
    """Multiplies the derivatives g_ij by the vectors, tile by tile, in one round of the ring.

    With g_ij the derivative of a sum with respect to s_ij, the gradients are, up to the factor
    `scale`,

        to_a_i   = sum_j g_ij b_j              to_b_j  = sum_i g_ij a_i
        to_scale = sum_ij g_ij a_i . b_j       to_bias = sum_ij g_ij

    If rows and columns are the same vectors (`options.is_same`), the matrix is symmetric.
    `derivative` then gives g_ij + g_ji, so that `to_a` is the whole gradient of a vector, as a row
    and as a column, and `to_b` is not computed. Every pair is met twice, so `to_scale` is twice the
    gradient.

    Args:
      options: Options of the tiles.
      derivative: Function of (step, rows, columns) that returns the products a_i . b_j and the
        derivatives g_ij, both `[block, columns]`.
      blocks: Rows of this device, in blocks.
      columns: Columns of this device.
      start: Zeros at which the sums to_b, to_scale and to_bias start.

    Returns:
      to_a in blocks `[blocks, block, dim]`, to_b `[n, dim]`, and the scalars to_scale and to_bias.
    """
    kind = softmax_type(blocks.vectors)
    to_a = jnp.zeros(blocks.vectors.shape, kind) + start[1]

    def visit(step: Array, stays: Any, travels: Any) -> tuple[Any, Any]:
        to_a, to_scale, to_bias = stays
        columns, to_b = travels

        def add(sums: Any, block: tuple[RowBlock, Array]) -> tuple[Any, Array]:
            rows, to_row = block
            cosines, derivatives = derivative(step, rows, columns)
            to_b, to_scale, to_bias = sums
            to_scale += (derivatives * cosines).sum()
            narrow, factor = _narrowed(derivatives, rows.vectors.dtype)
            product = partial(jnp.einsum, preferred_element_type=kind)
            to_row += product("ij,jd->id", narrow, columns.vectors) * factor
            if not options.is_same:
                to_b += product("ij,id->jd", narrow, rows.vectors) * factor
            return (to_b, to_scale, to_bias + derivatives.sum()), to_row

        sums, to_a = scan_blocks(add, (to_b, to_scale, to_bias), tied_to_step(step, blocks), to_a)
        return (to_a, sums[1], sums[2]), (columns, sums[0])

    stays, (_, to_b) = around_ring(
        visit, (to_a, start[1], start[2]), (columns, start[0]), options.axis_name
    )
    return stays[0], to_b, stays[1], stays[2]


def _narrowed(derivatives: Array, kind: Any) -> tuple[Array, Array | float]:
    """Derivatives in the type of the vectors, and the number by which they are then to be multiplied.

    In float16 they are divided by their largest one: weights of a large batch would underflow, and
    large weights overflow.
    """
    if kind != jnp.float16:
        return derivatives.astype(kind), 1.0
    largest = jnp.abs(derivatives).max(initial=jnp.finfo(derivatives.dtype).tiny)
    return (derivatives / largest).astype(kind), largest
