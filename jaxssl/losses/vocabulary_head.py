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

import jax
from jaxtyping import Array, Float, Int

from jaxssl.losses.axes import AxisName
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions
from jaxssl.losses.blockwise.vocabulary_sums import weighted_totals
from jaxssl.losses.softmax_cross_entropy import check_smoothing
from jaxssl.losses.weighting import weighted_mean


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
    gradient. HeadOptions, and what is raised, as `linear_cross_entropy`.

    >>> import jax.numpy as jnp
    >>> h, k = jnp.eye(2), jnp.eye(3, 2)
    >>> weights = jnp.array([3.0, 1.0])
    >>> _, share = linear_cross_entropy_with_accuracy(h, k, jnp.array([0, 2]), weights)
    >>> float(share)
    0.75
    """
    check_smoothing(label_smoothing)
    options = HeadOptions(block_size, label_smoothing, z_loss, vocab_axis_name)
    loss, right, _ = weighted_totals(options, hidden, kernel, targets, weights, bias)
    mean = partial(weighted_mean, axis_name=axis_name, normalize=normalize)
    weight = weights.astype(loss.dtype).sum()
    return mean(loss, weight), jax.lax.stop_gradient(mean(right, weight))
