"""Cross-entropy straight from hidden states and the kernel of the head: logits are never whole.

    z_i = kernel h_i + bias,   loss = sum_i w_i (log sum_v exp z_iv - z_i,target_i)

Tokens are taken in blocks. Where a gradient is asked for, it is formed in the forward pass, while a
block's logits are at hand: dz = w (softmax(z) - onehot), dh = dz kernel, dkernel += dz^T h. So the
backward pass is a multiplication, and memory is one block of logits and the gradients themselves.
Softmax is never divided out: a token's factor goes to its row of h and of dh.

    tokens   n rows of hidden states         vocab    rows of the kernel (an embedding table)
    dim      width of a state                block    tokens whose logits exist at a time
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.losses.axes import AxisName, softmax_type, weighted_mean, with_formed_gradient, zero_of
from jaxssl.losses.language import check_smoothing
from jaxssl.losses.token_blocks import Blocks, cut_into_blocks, default_block, join_blocks
from jaxssl.losses.token_sampling import draw

SLICE_BYTES = 1 << 25  # of the kernel's gradient, made at a time
MOST_SLICES = 8


def linear_cross_entropy(
    hidden: Float[Array, "tokens dim"],
    kernel: Float[Array, "vocab dim"],
    targets: Int[Array, " tokens"],
    weights: Float[Array, " tokens"],
    *,
    bias: Float[Array, " vocab"] | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    block_size: int | None = None,
    axis_name: AxisName = None,
    vocab_axis_name: str | None = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """masked_lm(hidden @ kernel.T + bias, targets, weights), without ever holding [tokens, vocab].

    Products are taken in the type of `hidden` (the kernel is cast to it), sums and softmax in
    float32; the gradient of a float32 kernel is float32. `block_size` is how many tokens' logits
    exist at a time; the default keeps them no larger than the kernel. Tokens of weight 0 are moved
    behind the others, and a block without weight costs nothing; they never yield NaN, whatever they
    hold. A target outside the vocabulary that has weight gives NaN.

    `vocab_axis_name`: inside `shard_map`, the mesh axis over which `kernel` and `bias` are cut
    along the vocabulary. The maximum, the sum and the target's logit are reduced over it; the
    kernel is not gathered. `targets` stay ids of the whole vocabulary, `hidden` is the same along
    that axis.

    The gradient with `axis_name` is exact for `jax.grad` outside the mapped function, and for
    `lax.pmean(jax.grad(...))` inside. Under `jit` with arrays cut over many devices call this
    inside `shard_map`, so that the kernel's gradient is summed once and not once a block.

    Gradient in the forward pass and no logits in memory: Wijmans et al. 2025 (Cut Your Losses),
    section 4, do it in a GPU kernel. z-loss: Chowdhery et al. 2022, section 5.

    Raises ValueError where shapes do not fit.

    >>> import jax.numpy as jnp
    >>> h, k = jnp.zeros((3, 2)), jnp.zeros((4, 2))
    >>> round(float(linear_cross_entropy(h, k, jnp.array([0, 1, 2]), jnp.ones(3))), 4)
    1.3863
    """
    return linear_cross_entropy_with_accuracy(
        hidden,
        kernel,
        targets,
        weights,
        bias=bias,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        block_size=block_size,
        axis_name=axis_name,
        vocab_axis_name=vocab_axis_name,
        normalize=normalize,
    )[0]


def linear_cross_entropy_with_accuracy(
    hidden: Float[Array, "tokens dim"],
    kernel: Float[Array, "vocab dim"],
    targets: Int[Array, " tokens"],
    weights: Float[Array, " tokens"],
    *,
    bias: Float[Array, " vocab"] | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    block_size: int | None = None,
    axis_name: AxisName = None,
    vocab_axis_name: str | None = None,
    normalize: bool = True,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The loss, and from the same pass the weighted share of tokens that are right.

    A token is right if no logit is above its target's: ties count as right. The share has no
    gradient. Options, and what is raised, as `linear_cross_entropy`.

    >>> import jax.numpy as jnp
    >>> h, k = jnp.eye(2), jnp.eye(3, 2)
    >>> weights = jnp.array([3.0, 1.0])
    >>> _, share = linear_cross_entropy_with_accuracy(h, k, jnp.array([0, 2]), weights)
    >>> float(share)
    0.75
    """
    options = Options(block_size, label_smoothing, z_loss, vocab_axis_name)
    loss, right, _ = weighted_totals(options, hidden, kernel, targets, weights, bias)
    mean = partial(weighted_mean, axis_name=axis_name, normalize=normalize)
    weight = weights.astype(loss.dtype).sum()
    return mean(loss, weight), jax.lax.stop_gradient(mean(right, weight))


class Options(NamedTuple):
    block: Any  # tokens whose logits exist at a time; None: `default_block`
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    vocab_axis: str | None = None
    temperature: float = 1.0  # of what is drawn
    disallow_correct: bool = False  # never draw the target
    slices: int = 1  # of the vocabulary, whose products are added one after another


def weighted_totals(
    options: Options,
    hidden: Array,
    kernel: Array,
    targets: Array,
    weights: Array,
    bias: Array | None,
    words: Array | None = None,
) -> tuple[Array, Array, Any]:
    """Weighted sums of the losses and of what is right; where tokens have keys, what they draw."""
    _check(hidden, kernel, targets, weights, bias, options.block)
    check_smoothing(options.label_smoothing)
    block = options.block or default_block(hidden.shape[1], kernel.shape[0], hidden.dtype)
    slices = 1 if kernel.dtype == softmax_type(hidden) else _slices(kernel.size)
    options = options._replace(block=block, slices=slices)
    loss, (right, drawn) = with_formed_gradient(
        partial(_weighted_sums, options),
        partial(_sums_and_gradients, options),
        (hidden, kernel, weights.astype(softmax_type(hidden)), *([] if bias is None else [bias])),
        (targets, words),
        sum_axis=options.vocab_axis,
    )
    return loss, right, drawn


def _slices(size: int) -> int:
    """Where the sum of the kernel's gradient is wider than the kernel, it is an array more beside the
    result: then at least the products that are added to it come a slice at a time."""
    return min(MOST_SLICES, -(-4 * size // SLICE_BYTES))


class _Sums(NamedTuple):
    loss: Float[Array, ""]
    right: Float[Array, ""]
    to_kernel: Any = None  # [vocab, dim], where a gradient is formed
    to_bias: Any = None  # [vocab], where there is a bias beside it


class _Scores(NamedTuple):
    """Of every token of a block; its logits less their maximum, and exponentiated: softmax is

    p_target = exp(z_target - top) / total,   p_v = others_v / total elsewhere,   p_target - 1 = -rest / total
    """

    others: Float[Array, "block vocab"]  # exp(z - top), and 0 at the target
    rest: Float[Array, " block"]  # the sum of `others` over the whole vocabulary
    total: Float[Array, " block"]  # sum_v exp(z_v - top)
    log_sum: Float[Array, " block"]
    losses: Float[Array, " block"]
    is_right: Float[Array, " block"]
    places: Int[
        Array, " block"
    ]  # of the target in this part of the vocabulary; beyond it: elsewhere
    drawn: Int[Array, " block"] | None


def _scores(options: Options, part: Blocks, kernel: Array, bias: Array | None = None) -> _Scores:
    axis, (vocab, _) = options.vocab_axis, kernel.shape
    kind = softmax_type(part.hidden)
    logits = jnp.einsum("td,vd->tv", part.hidden, kernel, preferred_element_type=kind)
    if bias is not None:
        logits += bias[None].astype(kind)
    top = _over(jax.lax.pmax, axis, jax.lax.stop_gradient(logits).max(axis=1))
    places = part.targets if axis is None else part.targets - jax.lax.axis_index(axis) * vocab
    is_here = (places >= 0) & (places < vocab)
    inside = jnp.where(is_here, places, 0)
    target = jnp.take_along_axis(logits, inside[:, None], axis=1)[:, 0]
    is_target = jnp.arange(vocab)[None] == places[:, None]
    others = jnp.where(is_target, 0.0, jnp.exp(logits - top[:, None]))
    smoothing = options.label_smoothing
    sums = [jnp.where(is_here, target, 0.0), others.sum(axis=1)]
    sums += [logits.sum(axis=1)] if smoothing else []
    target, rest, *logit_sum = _over(jax.lax.psum, axis, sums)
    is_valid = (part.targets >= 0) & (part.targets < _whole(vocab, axis))
    target = jnp.where(is_valid, target, jnp.nan)
    total = rest + jnp.exp(target - top)
    log_sum = top + jnp.log(total)
    losses = log_sum - target
    if smoothing:
        uniform = log_sum - logit_sum[0] / _whole(vocab, axis)
        losses = (1 - smoothing) * losses + smoothing * uniform
    if options.z_loss:
        losses += options.z_loss * jnp.square(log_sum)
    is_right = (target >= top).astype(kind)
    places = jnp.where(is_here, places, vocab)
    drawn = _drawn(options, part, logits)
    return _Scores(others, rest, total, log_sum, losses, is_right, places, drawn)


def _drawn(options: Options, part: Blocks, logits: Array) -> Array | None:
    if part.words is None:
        return None
    drawn = draw(
        part.words,
        logits,
        temperature=options.temperature,
        never=part.targets if options.disallow_correct else None,
        vocab_axis_name=options.vocab_axis,
    )
    return jnp.where(part.weights > 0, drawn, 0)


def _nothing_drawn(part: Blocks, zero: Array) -> Array | None:
    return None if part.words is None else jnp.zeros_like(part.targets) + zero.astype(int)


def _over(reduce: Any, axis: str | None, values: Any) -> Any:
    return values if axis is None else reduce(values, axis)


def _whole(vocab: int, axis: str | None) -> int:
    return vocab if axis is None else vocab * jax.lax.axis_size(axis)


def _zeros(options: Options, arrays: tuple[Array, ...], targets: Array) -> tuple[Array, Array]:
    """Zeros for sums over the vocabulary, which are equal along its axis, and for parts of it."""
    part = zero_of(*arrays, targets).astype(softmax_type(arrays[0]))
    return part if options.vocab_axis is None else jax.lax.psum(part, options.vocab_axis), part


def _weighted_sums(
    options: Options, arrays: tuple[Array, ...], constants: tuple[Array, Array | None]
) -> tuple[Array, tuple[Array, Any]]:
    hidden, kernel, weights, *bias = arrays
    targets, words = constants
    kernel = kernel.astype(hidden.dtype)
    zero, _ = _zeros(options, arrays, targets)

    def add(sums: _Sums, part: Blocks) -> tuple[_Sums, Array | None]:
        def count(sums: _Sums) -> tuple[_Sums, Array | None]:
            scores = _scores(options, part, kernel, *bias)
            loss = jnp.where(part.weights > 0, scores.losses * part.weights, 0.0).sum()
            return _Sums(
                sums.loss + loss, sums.right + scores.is_right @ part.weights
            ), scores.drawn

        def skip(sums: _Sums) -> tuple[_Sums, Array | None]:
            return sums, _nothing_drawn(part, zero)

        return jax.lax.cond((part.weights > 0).any(), count, skip, sums)

    blocks, order = cut_into_blocks(options.block, hidden, targets, weights, words)
    sums, drawn = jax.lax.scan(add, _Sums(zero, zero), blocks)
    return sums.loss, (sums.right, join_blocks(drawn, order, hidden.shape[0]))


def _block_gradients(
    options: Options, sums: _Sums, part: Blocks, kernel: Array, bias: Array | None = None
) -> tuple[_Sums, tuple[Array, Array, Array | None]]:
    """The sums with those of a block; its gradient by the hidden states, its losses, and what it draws.

    dz = scale pull - even, [block, vocab]: only `pull` is written, once; what a token is scaled by, and
    what is even over the vocabulary, goes to the smaller factors of the products.
    """
    scores = _scores(options, part, kernel, bias)
    kind, narrow, smoothing = scores.rest.dtype, part.hidden.dtype, options.label_smoothing
    growth = 1 + 2 * options.z_loss * scores.log_sum
    at_target = scores.total * (growth - 1 + smoothing) - growth * scores.rest
    pull = scores.others * growth[:, None] if options.z_loss else scores.others
    pull = pull.at[jnp.arange(len(pull)), scores.places].set(
        at_target, mode="drop", indices_are_sorted=True, unique_indices=True
    )
    pull = pull.astype(narrow)  # after the change, which XLA on CPU makes in float32 alone
    scale = part.weights / scores.total
    largest = scale.max(initial=jnp.finfo(kind).tiny)  # so that half precision holds the rest
    scaled = (part.hidden * (scale / largest)[:, None]).astype(narrow)
    to_hidden = jnp.einsum("tv,vd->td", pull, kernel, preferred_element_type=kind)
    to_hidden *= scale[:, None]
    to_kernel = _add_products(sums.to_kernel, pull, scaled, largest, options.slices)
    to_bias = (
        None if bias is None else jnp.einsum("tv,t->v", pull, scale, preferred_element_type=kind)
    )
    if smoothing:
        even = part.weights * smoothing / _whole(len(kernel), options.vocab_axis)
        to_hidden -= jnp.outer(even, kernel.sum(axis=0, dtype=kind))
        to_kernel -= (even @ part.hidden)[None]
        to_bias = None if to_bias is None else to_bias - even.sum()
    losses = jnp.where(part.weights > 0, scores.losses, 0.0)
    sums = _Sums(
        sums.loss + losses @ part.weights,
        sums.right + scores.is_right @ part.weights,
        to_kernel,
        None if to_bias is None else sums.to_bias + to_bias,
    )
    return sums, (to_hidden.astype(narrow), losses, scores.drawn)


def _add_products(to_kernel: Array, pull: Array, scaled: Array, factor: Array, count: int) -> Array:
    """to_kernel + factor * pull^T scaled, in `count` slices of the vocabulary."""
    vocab = len(to_kernel)
    size = -(-vocab // count)

    def add(number: Array | int, to_kernel: Array) -> Array:
        first = number * size
        start = jnp.minimum(first, vocab - size)  # the last slice begins within the one before
        part = jax.lax.dynamic_slice_in_dim(pull, start, size, axis=1)
        grown = jnp.einsum("tv,td->vd", part, scaled, preferred_element_type=to_kernel.dtype)
        is_new = (start + jnp.arange(size) >= first)[:, None]
        so_far = jax.lax.dynamic_slice_in_dim(to_kernel, start, size)
        grown = so_far + jnp.where(is_new, grown * factor, 0)
        return jax.lax.dynamic_update_slice_in_dim(to_kernel, grown, start, axis=0)

    return add(0, to_kernel) if count == 1 else jax.lax.fori_loop(0, count, add, to_kernel)


def _sums_and_gradients(
    options: Options, arrays: tuple[Array, ...], constants: tuple[Array, Array | None]
) -> tuple[tuple[Array, tuple[Array, Any]], tuple[Array, ...]]:
    hidden, kernel, weights, *bias = arrays
    targets, words = constants
    narrow = kernel.astype(hidden.dtype)
    zero, zero_part = _zeros(options, arrays, targets)

    def add(sums: _Sums, part: Blocks) -> tuple[_Sums, Any]:
        def grow(sums: _Sums) -> tuple[_Sums, Any]:
            return _block_gradients(options, sums, part, narrow, *bias)

        def skip(sums: _Sums) -> tuple[_Sums, Any]:
            to_hidden = jnp.zeros_like(part.hidden) + zero_part.astype(hidden.dtype)
            losses = jnp.zeros_like(part.weights) + zero
            return sums, (to_hidden, losses, _nothing_drawn(part, zero))

        return jax.lax.cond((part.weights > 0).any(), grow, skip, sums)

    start = _Sums(
        zero, zero, *(jnp.zeros(a.shape, zero.dtype) + zero_part for a in (kernel, *bias))
    )
    blocks, order = cut_into_blocks(options.block, hidden, targets, weights, words)
    sums, rows = jax.lax.scan(add, start, blocks)
    to_hidden, losses, drawn = join_blocks(rows, order, hidden.shape[0])
    if (
        options.vocab_axis is not None
    ):  # the inner product is summed over it, where losses are equal
        losses = losses / jax.lax.axis_size(options.vocab_axis)
    formed = [gradient for gradient in sums[2:] if gradient is not None]
    to_kernel, *to_bias = (
        gradient.astype(array.dtype)
        for gradient, array in zip(formed, (kernel, *bias), strict=True)
    )
    return (sums.loss, (sums.right, drawn)), (to_hidden, to_kernel, losses, *to_bias)


def _check(
    hidden: Array,
    kernel: Array,
    targets: Array,
    weights: Array,
    bias: Array | None,
    block_size: int | None,
) -> None:
    if hidden.ndim != 2 or kernel.ndim != 2 or hidden.shape[1] != kernel.shape[1]:
        raise ValueError(
            f"hidden {hidden.shape} and kernel {kernel.shape} need [tokens, dim] and [vocab, dim]"
        )
    for name, array in (("targets", targets), ("weights", weights)):
        if array.shape != hidden.shape[:1]:
            raise ValueError(
                f"{name} of shape {array.shape} must be [{hidden.shape[0]}], one for each row of "
                f"hidden {hidden.shape}"
            )
    if bias is not None and bias.shape != kernel.shape[:1]:
        raise ValueError(
            f"bias of shape {bias.shape} must be [{kernel.shape[0]}], one for each row of "
            f"kernel {kernel.shape}"
        )
    if block_size is not None and block_size < 1:
        raise ValueError(f"block_size {block_size} must be at least 1 token; None chooses it")
