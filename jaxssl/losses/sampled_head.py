"""Cross-entropy, and a token drawn from every position, from one pass over the logits of a vocabulary head.

This is what the generator of ELECTRA needs: its loss at the masked positions, and the tokens that
it puts there.
"""

from functools import partial

import jax
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from jaxssl.losses.arguments import check_range, check_temperature
from jaxssl.losses.axes import AxisName
from jaxssl.losses.blockwise.gumbel_noise import words_of_keys
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions
from jaxssl.losses.blockwise.vocabulary_sums import checked_head, weighted_totals
from jaxssl.losses.weighting import weighted_mean


def linear_cross_entropy_with_samples(
    keys: Key[Array, "*rows"] | UInt32[Array, "*rows 2"],
    hidden: Float[Array, "*rows dim"],
    kernel: Float[Array, "vocab dim"],
    targets: Int[Array, "*rows"],
    weights: Float[Array, "*rows"] | Bool[Array, "*rows"],
    *,
    temperature: float = 1.0,
    disallow_correct: bool = False,
    bias: Float[Array, " vocab"] | None = None,
    block_size: int | None = None,
    axis_name: AxisName = None,
    vocab_axis_name: str | None = None,
    normalize: bool = True,
) -> tuple[Float[Array, ""], Float[Array, ""], Int[Array, "*rows"]]:
    """Computes the loss and the accuracy, and draws a token at every position, without holding all logits.

    Token i draws `jax.random.categorical(keys[i], (hidden[i] @ kernel.T + bias) / temperature)`.
    The draw depends on its key alone: not on the block size, the position in the batch, or the
    sharding of tokens and vocabulary. Nothing is differentiated through it.

    Args:
      keys: A threefry key for every token, `[...]`, or their words, uint32 `[..., 2]`.
      hidden: Hidden states, `[..., dim]`, for instance `[batch, length, dim]`.
      kernel: Output embeddings, `[vocab, dim]`.
      targets: Ids of the right tokens, `[...]`.
      weights: Non-negative weight of every token, `[...]`, or a mask. A token of weight 0 draws nothing
        and returns id 0.
      temperature: Positive number that divides the logits when a token is drawn; the loss does not
        use it.
      disallow_correct: Whether the target is excluded from the draw.
      bias: Number added to each logit, `[vocab]`, or `None`.
      block_size: Number of tokens whose logits are held at a time, or `None`, as in
        `linear_cross_entropy`.
      axis_name: Mapped axis over which the tokens are sharded, as in `linear_cross_entropy`.
      vocab_axis_name: Mapped axis over which the vocabulary is sharded, as in
        `linear_cross_entropy`.
      normalize: Whether loss and accuracy are divided by the sum of the weights.

    Returns:
      The loss in nats and the weighted share of tokens predicted right, both scalars, and the drawn
      ids, int `[...]`.

    Raises:
      ValueError: The shapes or types do not fit, the keys are not threefry keys, or a number is outside
        its range.

    References:
      Clark et al. 2020, "ELECTRA: Pre-training text encoders as discriminators rather than
      generators", section 2.
      Maddison et al. 2014, "A* sampling", section 2 (Gumbel-max).

    >>> import jax, jax.numpy as jnp
    >>> keys, ids = jax.random.split(jax.random.key(0), 3), jnp.arange(3)
    >>> linear_cross_entropy_with_samples(keys, jnp.eye(3), 99 * jnp.eye(3), ids, jnp.ones(3))[2].tolist()
    [0, 1, 2]
    """
    weights = checked_head(hidden, kernel, targets, weights, bias, block_size, vocab_axis_name)
    if vocab_axis_name is None:
        check_range(targets, weights, kernel.shape[0])
    check_temperature(temperature)
    rows = hidden.reshape(-1, hidden.shape[-1])
    own = keys.shape[targets.ndim :]  # the axis of words, or nothing
    fits = keys.shape[: targets.ndim] == targets.shape
    words = words_of_keys(keys.reshape(-1, *own) if fits else keys)
    if words.shape[0] != rows.shape[0]:
        raise ValueError(f"{words.shape[0]} keys must be as many as rows of hidden {hidden.shape}")
    options = HeadOptions(
        block_size,
        vocab_axis=vocab_axis_name,
        temperature=temperature,
        disallow_correct=disallow_correct,
    )
    flat = targets.reshape(-1), weights.reshape(-1)
    loss, right, drawn = weighted_totals(options, rows, kernel, *flat, bias, words)
    mean = partial(weighted_mean, axis_name=axis_name, normalize=normalize)
    weight = weights.astype(loss.dtype).sum()
    return (
        mean(loss, weight),
        jax.lax.stop_gradient(mean(right, weight)),
        drawn.reshape(targets.shape),
    )
