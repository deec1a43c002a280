"""Cross-entropy straight from hidden states and the kernel of the head: logits are never held whole.

    z_i = kernel h_i + bias,   loss = sum_i w_i (log sum_v exp z_iv - z_i,target_i)

Tokens are taken in blocks. Where a gradient is asked for, it is formed in the forward pass, while a
block's logits are at hand: dz = w (softmax(z) - onehot), dh = dz kernel, dkernel += dz^T h. So the
backward pass is a multiplication, and memory is one block of logits and the gradients themselves.

    tokens   n rows of hidden states         vocab    rows of the kernel (an embedding table)
    dim      width of a state                block    tokens whose logits exist at a time
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.losses.mean import weighted_mean

BLOCK_ELEMENTS = 1 << 23  # logits of a block: 32 MB in float32


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
    axis_name: str | None = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """masked_lm(hidden @ kernel.T + bias, targets, weights), without ever holding [tokens, vocab].

    Products are taken in the type of `hidden`, sums and softmax in float32. A token of weight 0 costs
    nothing where its whole block has weight 0, and never yields NaN. Wijmans et al. 2024 (Cut
    Cross-Entropy) do the same in a GPU kernel.

    >>> import jax.numpy as jnp
    >>> h, k = jnp.zeros((3, 2)), jnp.zeros((4, 2))
    >>> float(linear_cross_entropy(h, k, jnp.array([0, 1, 2]), jnp.ones(3)).round(4))
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
    axis_name: str | None = None,
    normalize: bool = True,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The loss, and from the same pass the weighted share of tokens whose logit is the highest."""
    _check(hidden, kernel, targets, weights, bias)
    bias = jnp.zeros(kernel.shape[0], jnp.float32) if bias is None else bias
    block = block_size or max(128, BLOCK_ELEMENTS // kernel.shape[0])
    block = min(block, -(-hidden.shape[0] // 8) * 8)
    options = _Options(block, label_smoothing, z_loss)
    weights = weights.astype(jnp.float32)
    loss, correct = _weighted_sums(options, hidden, kernel, bias, targets, weights)
    mean = partial(weighted_mean, axis_name=axis_name, normalize=normalize)
    return mean(loss, weights.sum()), jax.lax.stop_gradient(mean(correct, weights.sum()))


class _Options(NamedTuple):
    block: int
    label_smoothing: float
    z_loss: float


class _Block(NamedTuple):
    hidden: Float[Array, "block dim"]
    targets: Int[Array, " block"]
    weights: Float[Array, " block"]


def _cut(block: int, *arrays: Array) -> tuple[Array, ...]:
    """Pads with zeros to whole blocks: [tokens, …] -> [blocks, block, …]."""
    tokens = arrays[0].shape[0]
    padding = -tokens % block
    padded = (jnp.pad(a, [(0, padding)] + [(0, 0)] * (a.ndim - 1)) for a in arrays)
    return tuple(a.reshape(-1, block, *a.shape[1:]) for a in padded)


def _logits(
    options: _Options, part: _Block, kernel: Array, bias: Array
) -> tuple[Array, Array, Array, Array]:
    """Logits, log-sum-exp, loss and whether the target is on top, of every token of a block."""
    logits = jnp.einsum(
        "td,vd->tv", part.hidden, kernel, preferred_element_type=jnp.float32
    ) + bias[None].astype(jnp.float32)
    top = logits.max(axis=1)
    log_sum = top + jnp.log(jnp.exp(logits - top[:, None]).sum(axis=1))
    target = jnp.take_along_axis(logits, part.targets[:, None], axis=1)[:, 0]
    losses = log_sum - target
    if options.label_smoothing:
        smoothing = options.label_smoothing
        losses = (1 - smoothing) * losses + smoothing * (log_sum - logits.mean(axis=1))
    if options.z_loss:
        losses += options.z_loss * jnp.square(log_sum)
    return logits, log_sum, losses, target >= top


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weighted_sums(
    options: _Options, hidden: Array, kernel: Array, bias: Array, targets: Array, weights: Array
) -> tuple[Array, Array]:
    def add(sums: tuple[Array, Array], part: _Block) -> tuple[tuple[Array, Array], None]:
        def count(_: None) -> tuple[Array, Array]:
            _, _, losses, is_right = _logits(options, part, kernel, bias)
            return (losses * part.weights).sum(), (is_right * part.weights).sum()

        loss, right = jax.lax.cond((part.weights > 0).any(), count, _nothing, None)
        return (sums[0] + loss, sums[1] + right), None

    blocks = _Block(*_cut(options.block, hidden, targets, weights))
    return jax.lax.scan(add, _nothing(None), blocks)[0]


def _nothing(_: None) -> tuple[Array, Array]:
    return jnp.zeros(()), jnp.zeros(())


def _forward(
    options: _Options, hidden: Array, kernel: Array, bias: Array, targets: Array, weights: Array
) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
    vocab = kernel.shape[0]

    def gradients(part: _Block) -> tuple[Array, ...]:
        logits, log_sum, losses, is_right = _logits(options, part, kernel, bias)
        share = jnp.exp(logits - log_sum[:, None])
        if options.z_loss:
            share *= (1 + 2 * options.z_loss * log_sum)[:, None]
        smoothing = options.label_smoothing
        is_target = jnp.arange(vocab)[None] == part.targets[:, None]
        wanted = jnp.where(is_target, 1 - smoothing + smoothing / vocab, smoothing / vocab)
        pull = ((share - wanted) * part.weights[:, None]).astype(part.hidden.dtype)
        to_hidden = jnp.einsum("tv,vd->td", pull, kernel, preferred_element_type=jnp.float32)
        to_kernel = jnp.einsum("tv,td->vd", pull, part.hidden, preferred_element_type=jnp.float32)
        sums = ((losses * part.weights).sum(), (is_right * part.weights).sum())
        to_bias = pull.astype(jnp.float32).sum(axis=0)
        return *sums, to_kernel, to_bias, to_hidden.astype(part.hidden.dtype), losses

    def add(sums: tuple[Array, ...], part: _Block) -> tuple[tuple[Array, ...], tuple[Array, Array]]:
        def skip(part: _Block) -> tuple[Array, ...]:
            shapes = jax.eval_shape(gradients, part)
            return tuple(jnp.zeros(shape.shape, shape.dtype) for shape in shapes)

        *grown, to_hidden, losses = jax.lax.cond((part.weights > 0).any(), gradients, skip, part)
        return tuple(s + g for s, g in zip(sums, grown, strict=True)), (to_hidden, losses)

    blocks = _Block(*_cut(options.block, hidden, targets, weights))
    zero_kernel = jnp.zeros(kernel.shape, jnp.float32)
    start = (jnp.zeros(()), jnp.zeros(()), zero_kernel, jnp.zeros(vocab))
    (loss, right, to_kernel, to_bias), (to_hidden, losses) = jax.lax.scan(add, start, blocks)
    to_hidden = to_hidden.reshape(-1, hidden.shape[1])[: hidden.shape[0]]
    to_weights = losses.reshape(-1)[: hidden.shape[0]]
    saved = (to_hidden, to_kernel.astype(kernel.dtype), to_bias.astype(bias.dtype), to_weights)
    return (loss, right), saved


def _backward(
    options: _Options, saved: tuple[Array, ...], cotangents: tuple[Array, Array]
) -> tuple[Array | None, ...]:
    to_hidden, to_kernel, to_bias, to_weights = saved
    scale = cotangents[0]
    scaled = (gradient * scale.astype(gradient.dtype) for gradient in (to_hidden, to_kernel, to_bias))
    return (*scaled, None, to_weights * scale)


_weighted_sums.defvjp(_forward, _backward)


def _check(
    hidden: Array, kernel: Array, targets: Array, weights: Array, bias: Array | None
) -> None:
    if hidden.ndim != 2 or kernel.ndim != 2 or hidden.shape[1] != kernel.shape[1]:
        raise ValueError(
            f"hidden {hidden.shape} and kernel {kernel.shape} must be [tokens, dim] and [vocab, dim]"
        )
    for name, array in (("targets", targets), ("weights", weights)):
        if array.shape != hidden.shape[:1]:
            raise ValueError(f"{name} of shape {array.shape} must be [{hidden.shape[0]}]")
    if bias is not None and bias.shape != kernel.shape[:1]:
        raise ValueError(f"bias of shape {bias.shape} must be [{kernel.shape[0]}]")
