"""Cross-entropies of language models: masked tokens, next tokens, and pairs of sentences.

All of them are `cross_entropy` over a vocabulary (or over two classes); the functions here fix the
shapes, the shift between logits and targets, and the names under which people look for them.
"""

from jaxtyping import Array, Bool, Float, Int

from jaxssl.losses.arguments import check_floats, checked_weights
from jaxssl.losses.axes import AxisName
from jaxssl.losses.softmax_cross_entropy import (
    check_targets,
    cross_entropy,
    cross_entropy_per_example,
)


def masked_lm(
    logits: Float[Array, "... length vocab"],
    targets: Int[Array, "... length"],
    weights: Float[Array, "... length"] | Bool[Array, "... length"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int | None = None,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the masked language modelling loss: the cross-entropy of the tokens that were hidden.

        loss = sum_i w_i (log sum_v exp(z_iv) - z_i,target_i) / sum_i w_i

    This is `cross_entropy` over the positions of a batch of sequences. For a large vocabulary
    `linear_cross_entropy` computes the same number without holding the logits.

    Args:
      logits: Scores of every token of the vocabulary at every position, `[..., length, vocab]`.
      targets: Original token of every position, `[..., length]`. Positions of weight 0 may hold
        anything, for instance -100.
      weights: Weight of every position, `[..., length]`, or a mask: above 0 where a token is
        predicted. `None` weights all positions by 1, for instance beside `ignore_index`.
      label_smoothing: Share of the target distribution, 0 to 1, that is spread evenly over the
        vocabulary.
      z_loss: Factor of the squared logarithm of the softmax normaliser. 0 leaves the term out.
      ignore_index: Target that marks positions without a loss, for instance -100 as in PyTorch: they
        get weight 0. `None` marks none.
      axis_name: Mapped axis (of `pmap`, `vmap` or `shard_map`) over which the batch is sharded.
        Value and gradient are then those of the global batch (`jaxssl.losses.axes` describes the
        convention).
      normalize: Whether the sum is divided by the sum of the weights. `False` returns the weighted
        sum itself.

    Returns:
      Scalar loss in nats, float32. It is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Devlin et al. 2019, "BERT: Pre-training of deep bidirectional transformers for language
      understanding", section 3.1.

    >>> import jax.numpy as jnp
    >>> logits = jnp.zeros((1, 3, 4))
    >>> round(float(masked_lm(logits, jnp.zeros((1, 3), int), jnp.array([[1.0, 0.0, 1.0]]))), 4)
    1.3863
    >>> round(float(masked_lm(logits, jnp.array([[2, -100, 1]]), ignore_index=-100)), 4)
    1.3863
    """
    return cross_entropy(
        logits,
        targets,
        weights,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        ignore_index=ignore_index,
        axis_name=axis_name,
        normalize=normalize,
    )


def masked_lm_per_example(
    logits: Float[Array, "*rows vocab"],
    targets: Int[Array, "*rows"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int | None = None,
) -> Float[Array, "*rows"]:
    """Computes the cross-entropy at every position, unweighted.

    Args:
      logits: Scores of every token of the vocabulary, `[..., length, vocab]`.
      targets: Original token of every position, `[..., length]`. An id outside the vocabulary gives
        NaN.
      label_smoothing: As in `masked_lm`.
      z_loss: As in `masked_lm`.
      ignore_index: Target whose loss is 0, for instance -100. `None`: there is none.

    Returns:
      Losses in nats, `[..., length]`, float32.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Devlin et al. 2019, section 3.1.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in masked_lm_per_example(jnp.zeros((2, 4)), jnp.array([0, 3])).tolist()]
    [1.3863, 1.3863]
    """
    return cross_entropy_per_example(
        logits,
        targets,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        ignore_index=ignore_index,
    )


def causal_lm(
    logits: Float[Array, "... length vocab"],
    tokens: Int[Array, "... length"],
    weights: Float[Array, "... length"] | Bool[Array, "... length"] | None = None,
    *,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the loss of predicting every token from those before it.

        loss = sum_{i >= 1} w_i (log sum_v exp(z_i-1,v) - z_i-1,token_i) / sum_{i >= 1} w_i

    The logits at position i - 1 predict token i; the function shifts them, so logits and tokens are
    passed as the model saw them. The logits of the last position are not used.

    Args:
      logits: Scores of the next token at every position, `[..., length, vocab]`.
      tokens: Tokens that the model read, `[..., length]`.
      weights: Weight of every token as a target, `[..., length]`, or a mask. That of the first
        token is not used, because nothing predicts it. `None` weights all tokens by 1.
      ignore_index: Token that is no target, for instance -100 in labels, as in `masked_lm`.
      label_smoothing: Share of the target distribution, 0 to 1, that is spread evenly over the
        vocabulary.
      z_loss: Factor of the squared logarithm of the softmax normaliser. 0 leaves the term out.
      axis_name: Mapped axis over which the batch is sharded, as in `masked_lm`.
      normalize: Whether the sum is divided by the sum of the weights.

    Returns:
      Scalar loss in nats, float32. It is 0 if all weights are 0.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Radford et al. 2018, "Improving language understanding by generative pre-training",
      section 3.1.

    >>> import jax.numpy as jnp
    >>> round(float(causal_lm(jnp.zeros((1, 3, 4)), jnp.zeros((1, 3), int))), 4)
    1.3863
    """
    check_targets(logits, tokens, "tokens")
    weights = checked_weights(weights, tokens.shape, f"each of tokens {tokens.shape}")
    return cross_entropy(
        logits[..., :-1, :],
        tokens[..., 1:],
        weights[..., 1:],
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        ignore_index=ignore_index,
        axis_name=axis_name,
        normalize=normalize,
    )


def causal_lm_per_example(
    logits: Float[Array, "... length vocab"],
    tokens: Int[Array, "... length"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_index: int | None = None,
) -> Float[Array, "... predicted"]:
    """Computes the loss of every token but the first, unweighted.

    Args:
      logits: Scores of the next token at every position, `[..., length, vocab]`.
      tokens: Tokens that the model read, `[..., length]`.
      label_smoothing: As in `causal_lm`.
      z_loss: As in `causal_lm`.
      ignore_index: Token whose loss is 0, for instance -100. `None`: there is none.

    Returns:
      Losses in nats, `[..., length - 1]`, float32; the first belongs to the second token.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Radford et al. 2018, section 3.1.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in causal_lm_per_example(jnp.zeros((3, 4)), jnp.zeros(3, int)).tolist()]
    [1.3863, 1.3863]
    """
    check_targets(logits, tokens, "tokens")
    return cross_entropy_per_example(
        logits[..., :-1, :],
        tokens[..., 1:],
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        ignore_index=ignore_index,
    )


def next_sentence(
    logits: Float[Array, "batch 2"],
    labels: Int[Array, " batch"],
    weights: Float[Array, " batch"] | Bool[Array, " batch"] | None = None,
    *,
    axis_name: AxisName = None,
    normalize: bool = True,
) -> Float[Array, ""]:
    """Computes the cross-entropy of classifying pairs of texts: next sentence and sentence order.

    Class 0 means that the second text follows the first, class 1 that it does not (next-sentence
    prediction) or that the two were swapped (sentence-order prediction).

    Args:
      logits: Scores of the two classes, `[batch, 2]`.
      labels: Right class of every pair, 0 or 1, `[batch]`.
      weights: Weight of every pair, `[batch]`, or a mask. `None` weights all pairs by 1.
      axis_name: Mapped axis over which the batch is sharded, as in `masked_lm`.
      normalize: Whether the sum is divided by the sum of the weights.

    Returns:
      Scalar loss in nats, float32.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Devlin et al. 2019, "BERT", section 3.1 (next sentence). Lan et al. 2020, "ALBERT: A lite BERT
      for self-supervised learning of language representations", section 3.1 (sentence order).

    >>> import jax.numpy as jnp
    >>> round(float(next_sentence(jnp.zeros((2, 2)), jnp.array([0, 1]))), 4)
    0.6931
    """
    _check_classes(logits, labels)
    return cross_entropy(logits, labels, weights, axis_name=axis_name, normalize=normalize)


def next_sentence_per_example(
    logits: Float[Array, "batch 2"], labels: Int[Array, " batch"]
) -> Float[Array, " batch"]:
    """Computes the cross-entropy of every pair of texts, unweighted.

    Args:
      logits: Scores of the two classes, `[batch, 2]`.
      labels: Right class of every pair, 0 or 1, `[batch]`.

    Returns:
      Losses in nats, `[batch]`, float32.

    Raises:
      ValueError: The shapes or types do not fit, or a number is outside its range.

    References:
      Devlin et al. 2019, section 3.1. Lan et al. 2020, section 3.1.

    >>> import jax.numpy as jnp
    >>> [round(x, 4) for x in next_sentence_per_example(jnp.zeros((2, 2)), jnp.array([0, 1])).tolist()]
    [0.6931, 0.6931]
    """
    _check_classes(logits, labels)
    return cross_entropy_per_example(logits, labels)


def _check_classes(logits: Array, labels: Array) -> None:
    """Raises ValueError unless there are two classes."""
    check_floats(logits=logits)
    if logits.ndim == 0 or logits.shape[-1] != 2:
        raise ValueError(
            f"logits of shape {logits.shape} must be [batch, 2]: follows, and does not follow"
        )
    check_targets(logits, labels, "labels")
