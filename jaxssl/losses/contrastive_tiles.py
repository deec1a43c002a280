"""Sums over all pairs of a batch, tile by tile: no matrix of all pairs is ever held.

    s_ij = scale a_i . b_j                      over pairs (i, j) whose rows both have weight
    log_sums   sum_i w_i log sum_j exp s_ij     by rows; by columns too, or with b = a and j != i
    logistic   sum_ij (w_i + w_j) / 2 log(1 + exp(-y_ij (s_ij + bias))),   y = 1 where i = j, else -1

Rows stay on their device and are visited `block` at a time. Columns go round the devices in a ring, with
what is added up for them (running maxima and sums, gradients), and are home again at the end. A tile is
[block, columns of one device]. Where a gradient is asked for, it is formed in the forward pass: log_sums
goes round once for the sums and once more for softmax(tile) times the vectors.
With b = a the matrix is symmetric, so row i alone gathers its whole gradient, that as a column too.

    a, b     [n, dim] unit vectors of this device     block    rows of a tile
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxssl.losses.axes import AxisName, around_ring, softmax_type, with_formed_gradient, zero_of

NOTHING = -1e30  # a logit that no sum notices, and that gives no NaN as -inf does


class _Rows(NamedTuple):
    """Cut into blocks [blocks, block, …] for `lax.scan`."""

    vectors: Float[Array, "*blocks block dim"]
    weights: Float[Array, "*blocks block"]
    log_sums: Float[Array, "*blocks block"]
    numbers: Int[Array, "*blocks block"]


class _Columns(NamedTuple):
    vectors: Float[Array, "columns dim"]
    weights: Float[Array, " columns"]
    log_sums: Float[Array, " columns"]


class _Running(NamedTuple):
    """sum exp(s) kept as exp(top) * total."""

    top: Float[Array, " n"]
    total: Float[Array, " n"]

    def add(self, tile: Array, axis: int) -> "_Running":
        top = jnp.maximum(self.top, tile.max(axis=axis, initial=NOTHING))
        grown = jnp.exp(tile - jnp.expand_dims(top, axis)).sum(axis=axis)
        return _Running(top, self.total * jnp.exp(self.top - top) + grown)

    def log(self) -> Array:
        return self.top + jnp.log(jnp.where(self.total > 0, self.total, 1.0))


class _Options(NamedTuple):
    block: int
    axis_name: AxisName
    is_same: bool  # the columns are the rows, and no row meets itself
    is_both: bool  # log-sums over columns as well


def sum_of_log_sums(
    a: Float[Array, "n dim"],
    b: Float[Array, "n dim"] | None,
    weights: Float[Array, " n"],
    scale: Float[Array, ""],
    *,
    by_columns: bool = False,
    block: int,
    axis_name: AxisName = None,
) -> Float[Array, ""]:
    """This device's part of the sum; `b` None takes the rows themselves, without i = j.

    Parts are exact only when summed over the devices, in value and in gradient.
    """
    options = _Options(max(1, min(block, a.shape[0])), axis_name, b is None, by_columns)
    arrays = (a, scale) if b is None else (a, scale, b)
    return with_formed_gradient(
        partial(_log_sums_value, options), partial(_log_sums_gradient, options), arrays, weights
    )[0]


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
    """This device's part of the sum over pairs, as `sum_of_log_sums`."""
    options = _Options(max(1, min(block, a.shape[0])), axis_name, is_same=False, is_both=False)
    return with_formed_gradient(
        partial(_logistic_value, options),
        partial(_logistic_gradient, options),
        (a, b, scale, bias),
        weights,
    )[0]


def _start(options: _Options, *arrays: Array) -> Array:
    """A zero that varies as the arrays do, and over the ring's axis."""
    zero = zero_of(*(jnp.atleast_1d(array) for array in arrays))
    if options.axis_name is not None:
        zero += (0 * jax.lax.axis_index(options.axis_name)).astype(zero.dtype)
    return zero.astype(softmax_type(*arrays))


def _cut(block: int, array: Array) -> Array:
    """Padded with zeros, [n, …] -> [blocks, block, …]."""
    padding = [(0, -array.shape[0] % block)] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding).reshape(-1, block, *array.shape[1:])


def _cut_rows(block: int, vectors: Array, weights: Array, log_sums: Array) -> _Rows:
    parts = [_cut(block, array) for array in (vectors, weights, log_sums)]
    numbers = jnp.arange(parts[0].shape[0] * block).reshape(-1, block)
    return _Rows(parts[0], parts[1], parts[2], numbers)


def _join(blocks: Array, count: int) -> Array:
    return blocks.reshape(-1, *blocks.shape[2:])[:count]


def _over_blocks(add: Any, sums: Any, blocks: _Rows, states: Any) -> tuple[Any, Any]:
    """add(sums, (rows, state)) -> (sums, state) for each block; one without weight costs nothing."""

    def visit(sums: Any, block: tuple[_Rows, Any]) -> tuple[Any, Any]:
        is_used = (block[0].weights > 0).any()
        return jax.lax.cond(is_used, add, lambda sums, block: (sums, block[1]), sums, block)

    return jax.lax.scan(visit, sums, (blocks, states))


def _at(step: Array, blocks: _Rows) -> _Rows:
    """The same blocks, tied to a step of the ring.

    `jax.grad` moves out of a scan what depends on its constants alone (JAX 0.10 to 0.12). Of the ring
    that would be the masks of all tiles at once: a matrix of all pairs of a device.
    """
    zero = 0 * step
    weights = blocks.weights + zero.astype(blocks.weights.dtype)
    return blocks._replace(weights=weights, numbers=blocks.numbers + zero)


def _similarities(rows: _Rows, columns: _Columns) -> Array:
    kind = softmax_type(rows.vectors)
    return jnp.einsum("id,jd->ij", rows.vectors, columns.vectors, preferred_element_type=kind)


def _is_pair(options: _Options, step: Array, rows: _Rows, columns: _Columns) -> Bool[Array, "i j"]:
    is_valid = (rows.weights > 0)[:, None] & (columns.weights > 0)[None]
    if not options.is_same:
        return is_valid
    return is_valid & ~(_is_own(rows, columns) & (step == 0))


def _is_own(rows: _Rows, columns: _Columns) -> Bool[Array, "i j"]:
    """At step 0 of the ring: the pair of a row with the column of the same number."""
    return rows.numbers[:, None] == jnp.arange(columns.weights.shape[0])[None]


def _log_sums(
    options: _Options, a: Array, b: Array, weights: Array, scale: Array
) -> tuple[Array, Array]:
    """log sum_j exp s_ij of every row, and log sum_i of every column (if asked for)."""
    zero = _start(options, a, b, weights, scale)
    zeros = jnp.zeros(weights.shape, zero.dtype) + zero
    nothing = _Running(zeros + NOTHING, zeros)
    blocks = _cut_rows(options.block, a, weights, weights)
    by_row = _Running(*(_cut(options.block, part) for part in nothing))

    def visit(step: Array, by_row: _Running, travels: Any) -> tuple[_Running, Any]:
        columns, by_column = travels

        def add(by_column: _Running, block: tuple[_Rows, _Running]) -> tuple[_Running, _Running]:
            rows, by_row = block
            is_pair = _is_pair(options, step, rows, columns)
            tile = jnp.where(is_pair, _similarities(rows, columns) * scale, NOTHING)
            if options.is_both:
                by_column = by_column.add(tile, axis=0)
            return by_column, by_row.add(tile, axis=1)

        by_column, by_row = _over_blocks(add, by_column, _at(step, blocks), by_row)
        return by_row, (columns, by_column)

    travels = (_columns(b, weights, weights, zero), nothing)
    by_row, (_, by_column) = around_ring(visit, by_row, travels, options.axis_name)
    return _join(by_row.log(), a.shape[0]), by_column.log()


def _columns(b: Array, weights: Array, log_sums: Array, zero: Array) -> _Columns:
    return _Columns(b + zero.astype(b.dtype), weights + zero, log_sums + zero)


def _total(options: _Options, weights: Array, by_row: Array, by_column: Array) -> Array:
    total = jnp.where(weights > 0, weights * by_row, 0.0).sum()
    if options.is_both:
        total += jnp.where(weights > 0, weights * by_column, 0.0).sum()
    return total


def _log_sums_value(
    options: _Options, arrays: tuple[Array, ...], weights: Array
) -> tuple[Array, tuple[()]]:
    a, scale, b = arrays[0], arrays[1], arrays[-1 if len(arrays) == 3 else 0]
    return _total(options, weights, *_log_sums(options, a, b, weights, scale)), ()


def _log_sums_gradient(
    options: _Options, arrays: tuple[Array, ...], weights: Array
) -> tuple[tuple[Array, tuple[()]], tuple[Array, ...]]:
    a, scale, b = arrays[0], arrays[1], arrays[-1 if len(arrays) == 3 else 0]
    by_row, by_column = _log_sums(options, a, b, weights, scale)
    total = _total(options, weights, by_row, by_column)

    def pull(step: Array, rows: _Rows, columns: _Columns) -> tuple[Array, Array]:
        """Similarities, and d total / d s_ij."""
        cosines = _similarities(rows, columns)
        tile = jnp.where(_is_pair(options, step, rows, columns), cosines * scale, NOTHING)
        share = rows.weights[:, None] * jnp.exp(tile - rows.log_sums[:, None])
        if options.is_both or options.is_same:
            share += columns.weights[None] * jnp.exp(tile - columns.log_sums[None])
        return cosines, share

    log_sums = by_row if options.is_same else by_column
    zero = _start(options, a, b, weights, scale)
    to_a, to_b, to_scale, _ = _gradients(
        options,
        pull,
        _cut_rows(options.block, a, weights, by_row),
        _columns(b, weights, log_sums, zero),
        (jnp.zeros(b.shape, zero.dtype) + zero, zero, zero),
    )
    to_a = (_join(to_a, a.shape[0]) * scale).astype(a.dtype)
    if options.is_same:  # each pair was met from both its ends
        return (total, ()), (to_a, (to_scale / 2).astype(scale.dtype))
    return (total, ()), (to_a, to_scale.astype(scale.dtype), (to_b * scale).astype(b.dtype))


def _gradients(
    options: _Options,
    pull: Any,
    blocks: _Rows,
    columns: _Columns,
    start: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array, Array]:
    """sum_j g_ij b_j (in blocks), sum_i g_ij a_i, sum_ij g_ij a_i.b_j and sum_ij g_ij, g of `pull`."""
    kind = softmax_type(blocks.vectors)
    to_a = jnp.zeros(blocks.vectors.shape, kind) + start[1]

    def visit(step: Array, stays: Any, travels: Any) -> tuple[Any, Any]:
        to_a, to_scale, to_bias = stays
        columns, to_b = travels

        def add(sums: Any, block: tuple[_Rows, Array]) -> tuple[Any, Array]:
            rows, to_row = block
            cosines, share = pull(step, rows, columns)
            to_b, to_scale, to_bias = sums
            to_scale += (share * cosines).sum()
            narrow = share.astype(rows.vectors.dtype)
            product = partial(jnp.einsum, preferred_element_type=kind)
            to_row += product("ij,jd->id", narrow, columns.vectors)
            if not options.is_same:
                to_b += product("ij,id->jd", narrow, rows.vectors)
            return (to_b, to_scale, to_bias + share.sum()), to_row

        sums, to_a = _over_blocks(add, (to_b, to_scale, to_bias), _at(step, blocks), to_a)
        return (to_a, sums[1], sums[2]), (columns, sums[0])

    stays, (_, to_b) = around_ring(
        visit, (to_a, start[1], start[2]), (columns, start[0]), options.axis_name
    )
    return stays[0], to_b, stays[1], stays[2]


def _logistic_tile(
    options: _Options, step: Array, rows: _Rows, columns: _Columns, scale: Array, bias: Array
) -> tuple[Array, Array, Array, Array]:
    """Similarities, logits times -y, the weights of the pairs, and which pair is a row's own."""
    is_own = _is_own(rows, columns) & (step == 0)
    mean = (rows.weights[:, None] + columns.weights[None]) / 2
    weights = jnp.where(_is_pair(options, step, rows, columns), mean, 0.0)
    cosines = _similarities(rows, columns)
    logits = cosines * scale + bias
    return cosines, jnp.where(is_own, -logits, logits), weights, is_own


def _logistic_value(
    options: _Options, arrays: tuple[Array, ...], weights: Array
) -> tuple[Array, tuple[()]]:
    a, b, scale, bias = arrays
    zero = _start(options, a, b, weights, scale, bias)
    blocks = _cut_rows(options.block, a, weights, weights)

    def visit(step: Array, total: Array, columns: _Columns) -> tuple[Array, _Columns]:
        def add(total: Array, block: tuple[_Rows, tuple[()]]) -> tuple[Array, tuple[()]]:
            _, logits, pairs, _ = _logistic_tile(options, step, block[0], columns, scale, bias)
            return total + (pairs * jax.nn.softplus(logits)).sum(), ()

        return _over_blocks(add, total, _at(step, blocks), ())[0], columns

    columns = _columns(b, weights, weights, zero)
    return around_ring(visit, zero, columns, options.axis_name)[0], ()


def _logistic_gradient(
    options: _Options, arrays: tuple[Array, ...], weights: Array
) -> tuple[tuple[Array, tuple[()]], tuple[Array, ...]]:
    a, b, scale, bias = arrays
    zero = _start(options, a, b, weights, scale, bias)

    def pull(step: Array, rows: _Rows, columns: _Columns) -> tuple[Array, Array]:
        cosines, logits, pairs, is_own = _logistic_tile(options, step, rows, columns, scale, bias)
        share = pairs * jax.nn.sigmoid(logits)
        return cosines, jnp.where(is_own, -share, share)

    to_a, to_b, to_scale, to_bias = _gradients(
        options,
        pull,
        _cut_rows(options.block, a, weights, weights),
        _columns(b, weights, weights, zero),
        (jnp.zeros(b.shape, zero.dtype) + zero, zero, zero),
    )
    total = _logistic_value(options, arrays, weights)
    to_a = (_join(to_a, a.shape[0]) * scale).astype(a.dtype)
    to_b = (to_b * scale).astype(b.dtype)
    return total, (to_a, to_b, to_scale.astype(scale.dtype), to_bias.astype(bias.dtype))
