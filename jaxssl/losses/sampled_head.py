"""Cross-entropy, and a token drawn from every position, from one pass over the logits of a vocabulary head.

This is what the generator of ELECTRA needs: its loss at the masked positions, and the tokens that
it puts there.
"""

from functools import partial

import jax
from jaxtyping import Array, Float, Int, Key, UInt32

from jaxssl.losses.axes import AxisName
from jaxssl.losses.blockwise.gumbel_max import check_temperature
from jaxssl.losses.blockwise.gumbel_noise import words_of_keys
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions
from jaxssl.losses.blockwise.vocabulary_sums import weighted_totals
from jaxssl.losses.weighting import weighted_mean


def linear_cross_entropy_with_samples(
    keys: Key[Array, " tokens"] | UInt32[Array, "tokens 2"],
    hidden: Float[Array, "tokens dim"],
    kernel: Float[Array, "vocab dim"],
    targets: Int[Array, " tokens"],
    weights: Float[Array, " tokens"],
    *,
    temperature: float = 1.0,
    disallow_correct: bool = False,
    bias: Float[Array, " vocab"] | None = None,
    block_size: int | None = None,
    axis_name: AxisName = None,
    vocab_axis_name: str | None = None,
    normalize: bool = True,
) -> tuple[Float[Array, ""], Float[Array, ""], Int[Array, " tokens"]]:
    """Computes the loss and the accuracy, and draws a token at every position, without holding all logits.

    Token i draws `jax.random.categorical(keys[i], (hidden[i] @ kernel.T + bias) / temperature)`.
    The draw depends on its key alone: not on the block size, the position in the batch, or the
    sharding of tokens and vocabulary. Nothing is differentiated through it.

    Args:
      keys: A threefry key for every token, `[tokens]`, or their words, uint32 `[tokens, 2]`.
      hidden: Hidden states, `[tokens, dim]`.
      kernel: Output embeddings, `[vocab, dim]`.
      targets: Ids of the right tokens, `[tokens]`.
      weights: Non-negative weight of every token, `[tokens]`. A token of weight 0 draws nothing and
        returns id 0.
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
      ids, int `[tokens]`.

    Raises:
      ValueError: The shapes do not fit, the keys are not threefry keys, or `temperature` or
        `block_size` is not positive.

    References:
      Clark et al. 2020, "ELECTRA: Pre-training text encoders as discriminators rather than
      generators", section 2.
      Maddison et al. 2014, "A* sampling", section 2 (Gumbel-max).

    >>> import jax, jax.numpy as jnp
    >>> keys, ids = jax.random.split(jax.random.key(0), 3), jnp.arange(3)
    >>> linear_cross_entropy_with_samples(keys, jnp.eye(3), 99 * jnp.eye(3), ids, jnp.ones(3))[2].tolist()
    [0, 1, 2]
    """
    words = words_of_keys(keys)
    if words.shape[0] != hidden.shape[0]:
        raise ValueError(f"{words.shape[0]} keys must be as many as rows of hidden {hidden.shape}")
    check_temperature(temperature)
    options = HeadOptions(
        block_size,
        vocab_axis=vocab_axis_name,
        temperature=temperature,
        disallow_correct=disallow_correct,
    )
    loss, right, drawn = weighted_totals(options, hidden, kernel, targets, weights, bias, words)
    mean = partial(weighted_mean, axis_name=axis_name, normalize=normalize)
    weight = weights.astype(loss.dtype).sum()
    return mean(loss, weight), jax.lax.stop_gradient(mean(right, weight)), drawn
