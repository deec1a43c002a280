"""Cross-entropy and a token drawn for every place, from one pass over the logits of a vocabulary head."""

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
    """The loss, the share that is right, and what is drawn, without ever holding [tokens, vocab].

    For ELECTRA's generator (Clark et al. 2020, section 2). What token i draws is

        jax.random.categorical(keys[i], (hidden[i] @ kernel.T + bias) / temperature)

    by Gumbel-max (`token_sampling.py`): it depends on its key alone, not on the block, on the place in
    the batch or on how tokens and vocabulary are cut over devices. `disallow_correct` never draws the
    target. Nothing flows back through what is drawn; a token of weight 0 draws nothing and gets 0. Keys
    are threefry keys, or their words. Other options, and what is raised, as `linear_cross_entropy`.

    >>> import jax, jax.numpy as jnp
    >>> keys, ids = jax.random.split(jax.random.key(0), 3), jnp.arange(3)
    >>> linear_cross_entropy_with_samples(keys, jnp.eye(3), 99 * jnp.eye(3), ids, jnp.ones(3))[2].tolist()
    [0, 1, 2]
    """
    words = words_of_keys(keys)
    if words.shape[0] != hidden.shape[0]:
        raise ValueError(f"{words.shape[0]} keys must be one for each row of hidden {hidden.shape}")
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
