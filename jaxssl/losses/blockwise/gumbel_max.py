"""Drawing a token as the argmax of logits plus Gumbel noise."""

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
    """For every token with its own key: jax.random.categorical(key, logits / temperature).

    `logits` may be this device's part of the vocabulary; `never` are ids of the whole vocabulary, one
    for each token, that are not drawn.
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
    score: Float[Array, " tokens"]
    token: Int[Array, " tokens"]

    def or_better(self, other: "BestToken") -> "BestToken":
        """Of equal scores the first, as argmax takes it."""
        is_better = other.score > self.score
        return BestToken(*(jnp.where(is_better, *pair) for pair in zip(other, self, strict=True)))


def best_of(scores: Float[Array, "tokens block"], ids: Int[Array, " block"]) -> BestToken:
    """Of equal scores the lowest id. Two plain reductions: argmax is a slow one on CPUs."""
    top = scores.max(axis=1)
    is_best = scores == top[:, None]
    return BestToken(top, jnp.where(is_best, ids[None], jnp.iinfo(ids.dtype).max).min(axis=1))


def best_over_devices(best: BestToken, whole: int, axis_name: str) -> Int[Array, " tokens"]:
    top = jax.lax.pmax(best.score, axis_name)
    return jax.lax.pmin(jnp.where(best.score == top, best.token, whole), axis_name)


def axis_size(axis_name: AxisName) -> int:
    return 1 if axis_name is None else jax.lax.axis_size(axis_name)


def first_on_device(count: int, axis_name: AxisName) -> UInt32[Array, ""]:
    """The number in the whole of the first of this device's `count`."""
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    return jnp.asarray(device, jnp.uint32) * jnp.uint32(count)


def check_temperature(temperature: float) -> None:
    if isinstance(temperature, (int, float)) and temperature <= 0:
        raise ValueError(f"temperature {temperature} must be above 0: it divides the logits")
