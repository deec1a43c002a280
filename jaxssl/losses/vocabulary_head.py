"""Cross-entropy straight from hidden states and the kernel of a vocabulary head, without holding the logits.

    z_i = kernel @ hidden_i + bias          loss = sum_i w_i (log sum_v exp(z_iv) - z_i,target_i) / sum_i w_i

    tokens   hidden states, rows i          vocab   rows v of the kernel (an embedding table)
    dim      width of a hidden state        block   tokens whose logits exist at a time

Tokens are taken in blocks. Where a gradient is asked for, it is formed in the forward pass, while
the logits of a block are at hand:

    dz = w (softmax(z) - onehot(target))    d hidden = dz @ kernel      d kernel += dz^T @ hidden

The backward pass then only multiplies these gradients by the cotangent of the loss. Memory is one
block of logits and the gradients themselves (`jaxssl.losses.blockwise`).
"""

from functools import partial

import jax
from jaxtyping import Array, Bool, Float, Int

from jaxssl.losses.arguments import check_range, without_ignored
from jaxssl.losses.axes import AxisName
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions
from jaxssl.losses.blockwise.vocabulary_sums import checked_head, weighted_totals
from jaxssl.losses.softmax_cross_entropy import check_smoothing
from jaxssl.losses.weighting import weighted_mean


def linear_cross_entropy(
    hidden: Float[Array, "*rows dim"],
    kernel: Float[Array, "vocab dim"],
    targets: Int[Array, "*rows"],
    weights: Float[Array, "*rows"] | Bool[Array, "*rows"] | None = None,
    *,
    bias: Float[Array, " vocab"] | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int | None = None,
    block_size: int | None = None,
    axis_name: AxisName = None,
    vocab_axis_name: str | None = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes `masked_lm(hidden @ kernel.T + bias, targets, weights)` without holding all the logits.

    Products are taken in the type of `hidden`, to which the kernel is cast; sums and softmax are
    float32, and the gradient of a float32 kernel is float32. Tokens of weight 0 may hold anything;
    they are moved behind the others, and a block without any weight costs nothing.

    Under `jit` with arrays that are sharded over many devices, call this inside `shard_map`, so
    that the kernel's gradient is summed over the devices once and not once for each block.

    A causal language model predicts each token from the state before it:

        linear_cross_entropy(hidden[:, :-1], kernel, tokens[:, 1:], weights[:, 1:])

    Args:
      hidden: Hidden states, `[..., dim]`, for instance `[batch, length, dim]`.
      kernel: Output embeddings, `[vocab, dim]`, for instance the table of the input embeddings.
      targets: Ids of the right tokens, `[...]`. An id outside the vocabulary that has a weight raises
        ValueError, or makes the loss NaN where it is traced, so that the mistake is noticed.
      weights: Non-negative weight of every token, `[...]`, or a mask. `None` weights all tokens by 1.
      bias: Number added to the logit of every token of the vocabulary, `[vocab]`, or `None`.
      label_smoothing: Share of the target distribution, 0 to 1, that is spread evenly over the
        vocabulary.
      z_loss: Factor of the squared logarithm of the softmax normaliser. 0 leaves the term out.
      ignore_index: Target that marks tokens without a loss, for instance -100 as in PyTorch: they get
        weight 0. `None` marks none.
      block_size: Number of tokens whose logits are held at a time. `None` chooses it so that they
        are no larger than the kernel.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the tokens are sharded.
        Value and gradient are then those of the global batch (`jaxssl.losses.axes` describes the
        convention).
      vocab_axis_name: Mapped axis of `shard_map` over which `kernel` and `bias` are sharded along
        the vocabulary. The maximum, the sum and the target's logit are reduced over it, and the
        kernel is not gathered. `targets` stay ids of the whole vocabulary, and `hidden` is the same
        on all devices of this axis.
      normalize: Whether the sum is divided by the sum of the weights. `False` returns the weighted
        sum itself.

    Returns:
      Scalar loss in nats, float32. It is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Wijmans et al. 2025, "Cut your losses in large-vocabulary language models", section 4 (the
      same idea in a GPU kernel).
      Chowdhery et al. 2022, "PaLM: Scaling language modeling with Pathways", section 5 (z-loss).

    >>> import jax.numpy as jnp
    >>> h, k = jnp.zeros((3, 2)), jnp.zeros((4, 2))
    >>> round(float(linear_cross_entropy(h, k, jnp.array([0, 1, 2]), jnp.ones(3))), 4)
    1.3863

    A causal language model of four tokens, in batches `[batch, length]`:

    >>> tokens, states = jnp.array([[1, 3, 0], [2, 2, 1]]), jnp.zeros((2, 3, 2))
    >>> round(float(linear_cross_entropy(states[:, :-1], k, tokens[:, 1:])), 4)
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
        ignore_index=ignore_index,
        block_size=block_size,
        axis_name=axis_name,
        vocab_axis_name=vocab_axis_name,
        normalize=normalize,
    )[0]


def linear_cross_entropy_with_accuracy(
    hidden: Float[Array, "*rows dim"],
    kernel: Float[Array, "vocab dim"],
    targets: Int[Array, "*rows"],
    weights: Float[Array, "*rows"] | Bool[Array, "*rows"] | None = None,
    *,
    axis_name: AxisName = None,
    vocab_axis_name: str | None = None,
    normalize: bool = True,
    bias: Float[Array, " vocab"] | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int | None = None,
    block_size: int | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Computes the loss and, from the same logits, the weighted share of tokens that are predicted right.

    A token is right if no logit is above that of its target; ties count as right.

    Args:
      hidden: Hidden states, `[..., dim]`.
      kernel: Output embeddings, `[vocab, dim]`.
      targets: Ids of the right tokens, `[...]`.
      weights: Non-negative weight of every token, `[...]`, or a mask. `None` weights all by 1.
      bias: Number added to each logit, `[vocab]`, or `None`.
      label_smoothing: Share of the target distribution that is spread evenly over the vocabulary.
      z_loss: Factor of the squared logarithm of the softmax normaliser.
      ignore_index: Target that marks tokens without a loss, or `None`.
      block_size: Number of tokens whose logits are held at a time, or `None`.
      axis_name: Mapped axis over which the tokens are sharded.
      vocab_axis_name: Mapped axis over which the vocabulary is sharded.
      normalize: Whether both sums are divided by the sum of the weights.

    Returns:
      The loss, as `linear_cross_entropy` returns it, and the share, a scalar from 0 to 1 without
      gradient.

    Raises:
      ValueError: As `linear_cross_entropy`.

    References:
      Wijmans et al. 2025, section 4. Chowdhery et al. 2022, section 5.

    >>> import jax.numpy as jnp
    >>> h, k = jnp.eye(2), jnp.eye(3, 2)
    >>> weights = jnp.array([3.0, 1.0])
    >>> _, share = linear_cross_entropy_with_accuracy(h, k, jnp.array([0, 2]), weights)
    >>> float(share)
    0.75
    """
    check_smoothing(label_smoothing, z_loss)
    weights = checked_head(hidden, kernel, targets, weights, bias, block_size, vocab_axis_name)
    weights = without_ignored(targets, weights, ignore_index)
    if vocab_axis_name is None:
        check_range(targets, weights, kernel.shape[0], way_out=", or pass ignore_index=-100")
    options = HeadOptions(block_size, label_smoothing, z_loss, vocab_axis_name)
    rows = hidden.reshape(-1, hidden.shape[-1])
    flat = targets.reshape(-1), weights.reshape(-1)
    loss, right, _ = weighted_totals(options, rows, kernel, *flat, bias)
    mean = partial(weighted_mean, axis_name=axis_name, normalize=normalize)
    weight = weights.astype(loss.dtype).sum()
    return mean(loss, weight), jax.lax.stop_gradient(mean(right, weight))
