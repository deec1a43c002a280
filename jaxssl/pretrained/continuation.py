"""Shows how a causal language model continues held-out text."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from jaxssl.data.rows import RowReader

PROMPT, CONTINUED = 24, 48  # tokens
TEMPERATURE = 0.8


def show_continuation(
    model: Any, held_out: RowReader, *, prefix: bool = False, seed: int = 0
) -> str:
    """Continues the beginning of a held-out document, token by token, and formats the result.

    Args:
      model: Causal language model.
      held_out: Reader of held-out rows; the longest document of its first batch is continued.
      prefix: Whether the model is a prefix LM, which sees the beginning from both sides.
      seed: Seed of the drawn tokens.

    Returns:
      Two lines, the beginning and its continuation.
    """
    spec = held_out.spec
    document = _longest_document(held_out.batch(0)["tokens"], spec)
    start = min(PROMPT, len(document) // 2)
    if start < 1:
        return "no held-out row has a text to continue"
    tokens = np.full((1, min(spec.length, start + CONTINUED)), spec.pad, np.int32)
    tokens[0, :start] = document[:start]
    refused = np.isin(np.arange(spec.vocab_size), [spec.pad, spec.begin, spec.mask])
    made = np.asarray(
        continue_text(model, tokens, start, refused, jax.random.key(seed), prefix=prefix)
    )[0, start:]
    ends = np.flatnonzero(made == spec.end)
    made = made[: ends[0]] if len(ends) else made
    before, after = (_plain(held_out.tokenizer, part) for part in (document[:start], made))
    return f"{before} …\n    goes on: {after}"


@partial(jax.jit, static_argnames="prefix")
def continue_text(
    model: Any,
    tokens: Int[Array, "batch length"],
    start: int,
    refused: Array,
    key: Array,
    *,
    prefix: bool = False,
) -> Int[Array, "batch length"]:
    """Draws the tokens from position `start` on, one after another, at the temperature 0.8.

    Args:
      model: Causal language model.
      tokens: Rows, `[batch, length]`, of which the first `start` tokens are kept.
      start: Number of tokens that are given.
      refused: Whether a token is never drawn, `[vocab]`.
      key: Random key.
      prefix: Whether the given tokens see each other from both sides.

    Returns:
      The rows with drawn tokens, `[batch, length]`.
    """
    given = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None] < start, tokens.shape)
    segments = jnp.ones_like(tokens)

    def draw(position: Array, tokens: Array) -> Array:
        states = model.decoder(tokens, segments, prefix=given if prefix else None)
        last = jax.lax.dynamic_index_in_dim(states, position - 1, axis=1, keepdims=False)
        logits = last.astype(jnp.float32) @ model.output_embedding().astype(jnp.float32).T
        logits = jnp.where(refused[None], -jnp.inf, logits / TEMPERATURE)
        drawn = jax.random.categorical(jax.random.fold_in(key, position), logits)
        return tokens.at[:, position].set(drawn.astype(tokens.dtype))

    return jax.lax.fori_loop(start, tokens.shape[1], draw, tokens)


def _longest_document(rows: np.ndarray, spec: Any) -> np.ndarray:
    """Returns the tokens of the longest document that begins in one of the rows, with its begin token."""
    best = rows[0, :0]
    for row in rows:
        for start in np.flatnonzero(row == spec.begin):
            stops = np.flatnonzero(np.isin(row[start + 1 :], [spec.begin, spec.end, spec.pad]))
            document = row[start : start + 1 + stops[0]] if len(stops) else row[start:]
            best = document if len(document) > len(best) else best
    return best


def _plain(tokenizer: Any, ids: Any) -> str:
    """Decodes tokens to text on one line."""
    return " ".join(tokenizer.decode([int(i) for i in ids]).split())
