"""Drawing from a softmax as the argmax of logits plus Gumbel noise, over blocks and shards of a vocabulary.

    token_i = argmax_v (z_iv / temperature + g_iv)        g: Gumbel noise, see `gumbel_noise`

Maddison et al. 2014, "A* sampling", section 2. A maximum can be taken in parts, so neither the
blocks nor the devices need to see all logits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from jaxssl.losses.axes import AxisName
from jaxssl.losses.blockwise.gumbel_noise import gumbel


def draw(
    words: UInt32[Array, "tokens 2"],
    logits: Float[Array, "tokens vocab"],
    *,
    temperature: float = 1.0,
    never: Int[Array, " tokens"] | None = None,
    vocab_axis_name: str | None = None,
) -> Int[Array, " tokens"]:
    """Draws a token from every row of logits, with a key for every token.

    Row i gives `jax.random.categorical(keys[i], logits[i] / temperature)`. The result depends on
    neither the position of the token in the batch nor the sharding of the vocabulary.

    Args:
      words: Words of the keys, uint32 `[tokens, 2]`.
      logits: Logits, `[tokens, vocab]`; with `vocab_axis_name`, those of this device's shard of the
        vocabulary.
      temperature: Positive number that divides the logits.
      never: Id of the whole vocabulary that is not drawn, for every token, `[tokens]`. `None`
        allows all.
      vocab_axis_name: Mapped axis over which the vocabulary is sharded, or `None`.

    Returns:
      Ids of the whole vocabulary, `[tokens]`.
    """
    vocab = logits.shape[1]
    ids = first_on_device(vocab, vocab_axis_name) + jnp.arange(vocab, dtype=jnp.uint32)
    noise = gumbel(words.T[:, :, None], (jnp.zeros((1, 1), jnp.uint32), ids[None]))
    scores = logits / temperature + noise.astype(logits.dtype)
    ids = ids.astype(int)
    if never is not None:
        scores = jnp.where(ids[None] == never[:, None], -jnp.inf, scores)
    best = best_of(scores, ids)
    if vocab_axis_name is None:
        return best.token
    return best_over_devices(best, vocab * axis_size(vocab_axis_name), vocab_axis_name)


class BestToken(NamedTuple):
    """The best token of every row so far."""

    score: Float[Array, " tokens"]
    """Largest score, logit / temperature plus noise."""
    token: Int[Array, " tokens"]
    """Id of the token with this score."""

    def or_better(self, other: "BestToken") -> "BestToken":
        """Returns, row by row, the better of both; if the scores are equal, this one rather than `other`."""
        is_better = other.score > self.score
        return BestToken(*(jnp.where(is_better, *pair) for pair in zip(other, self, strict=True)))


def best_of(scores: Float[Array, "tokens block"], ids: Int[Array, " block"]) -> BestToken:
    """Finds the token with the largest score of every row; the lowest id if several are equal.

    Two plain reductions are used, because argmax is slow on CPUs.

    Args:
      scores: Scores, `[tokens, block]`.
      ids: Id of the token of every column, `[block]`.

    Returns:
      The best score and its token, both `[tokens]`.
    """
    top = scores.max(axis=1)
    is_best = scores == top[:, None]
    return BestToken(top, jnp.where(is_best, ids[None], jnp.iinfo(ids.dtype).max).min(axis=1))


def best_over_devices(best: BestToken, whole: int, axis_name: str) -> Int[Array, " tokens"]:
    """Returns the tokens with the largest scores on all devices of a mapped axis, `[tokens]`.

    Args:
      best: The best of this device's shard of the vocabulary, `[tokens]`.
      whole: Size of the whole vocabulary, larger than every id.
      axis_name: Mapped axis over which the vocabulary is sharded.

    Returns:
      Ids, `[tokens]`; the lowest if several are equal.
    """
    top = jax.lax.pmax(best.score, axis_name)
    return jax.lax.pmin(jnp.where(best.score == top, best.token, whole), axis_name)


def axis_size(axis_name: AxisName) -> int:
    """Returns the number of devices of the mapped axis `axis_name`; 1 for `None`."""
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def first_on_device(count: int, axis_name: AxisName) -> UInt32[Array, ""]:
    """Returns the number of this device's first element, where each device of `axis_name` has `count`."""
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    return jnp.asarray(device, jnp.uint32) * jnp.uint32(count)
