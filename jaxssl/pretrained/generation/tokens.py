"""Writes tokens behind prompts of tokens: drawn one after another, or by beam search.

writer = TokenWriter(CausalWriter.of(model), ends=(3,))
for tokens in writer.drawn(prompts, limits, Sampling(), seed=0, rows=range(2)): ...   # [2] each
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from jaxssl.models.decoding.cache import Cache
from jaxssl.models.decoding.language_models import CausalWriter, EncoderDecoderWriter
from jaxssl.pretrained.generation.beams import Beams, BeamSearch, Candidates, best_candidates
from jaxssl.pretrained.generation.sampling import Sampling, choose

Prompts = Sequence[Int[np.ndarray, " length"]]
Limits = Int[np.ndarray, " batch"]
FEWEST, BLOCK = 16, 128  # lengths are rounded up, so that few programs are compiled


class TokenWriter:
    """A language model whose steps are compiled once for each shape.

    Attributes:
      writer: The model.
      ends: Token ids that end a text.

    Args:
      writer: The model.
      ends: Token ids that end a text; may be empty.
      banned: Tokens that are never written, bool `[vocab]`. `None`: there are none.
    """

    def __init__(
        self,
        writer: CausalWriter | EncoderDecoderWriter,
        ends: tuple[int, ...] = (),
        banned: Bool[np.ndarray, " vocab"] | None = None,
    ):
        self.writer, self.ends = writer, ends
        self._banned = None if banned is None else jnp.asarray(banned)
        # As a list, the parameters are handed to a compiled function without a walk through modules.
        self._leaves: list[Array]
        self._form: Any
        self._leaves, self._form = jax.tree.flatten(writer)

    def drawn(
        self, prompts: Prompts, most: int, sampling: Sampling, *, seed: int, rows: Sequence[int]
    ) -> Iterator[Int[np.ndarray, " batch"]]:
        """Draws tokens, one for every prompt at a time. Texts do not stop by themselves.

        Args:
          prompts: Token ids of each prompt, `[length]`.
          most: Largest number of tokens.
          sampling: How tokens are drawn.
          seed: Number that the random keys come from.
          rows: Number of each prompt; a prompt of the same number, text and seed gets the same tokens,
            whatever is beside it.

        Yields:
          Tokens, `[batch]`.
        """
        key, numbers = jax.random.key(seed), jnp.asarray(rows, jnp.uint32)
        logits, cache = self._read(prompts, most)
        for number in range(most):
            tokens = self._choose(sampling, key, numbers, jnp.uint32(number), logits, self._banned)
            if (
                number + 1 < most
            ):  # begun before the tokens are looked at, which takes the host its time
                logits, cache = self._advance(self._leaves, tokens, cache)
            yield np.asarray(tokens)

    def searched(
        self, prompts: Prompts, limits: Limits, search: BeamSearch
    ) -> list[tuple[Int[np.ndarray, " length"], float]]:
        """Looks for the most probable text behind every prompt.

        Args:
          prompts: Token ids of each prompt, `[length]`.
          limits: Largest number of tokens for each prompt, `[batch]`.
          search: How beams are searched.

        Returns:
          The best text of each prompt, as token ids `[length]` with the one that ends it, and its score.
        """
        batch, beams = len(prompts), search.beams
        logits, cache = self._read(prompts, int(limits.max()))
        every = jnp.repeat(jnp.arange(batch), beams)
        logits, cache = logits[every], self._rows(cache, every)
        texts = Beams(search, batch, self.ends, limits)
        count = search.candidates(len(self.ends))
        while True:
            found = self._candidates(logits, texts.scores, self._banned, count=count)
            parents, tokens = texts.advance(Candidates(*map(np.asarray, found)))
            if texts.done.all():
                return texts.best()
            rows = (np.arange(batch)[:, None] * beams + parents).reshape(-1)
            cache = self._rows(cache, rows)
            logits, cache = self._advance(self._leaves, tokens.reshape(-1), cache)

    def _read(self, prompts: Prompts, most: int) -> tuple[Array, Cache]:
        """Reads prompts into a cache with room for `most` tokens behind the longest of them."""
        lengths = np.array([len(prompt) for prompt in prompts], np.int32)
        longest = int(lengths.max())
        tokens = np.zeros((len(prompts), rounded(longest)), np.int32)
        for row, prompt in zip(tokens, prompts, strict=True):
            row[: len(prompt)] = prompt
        begins = self.writer.begin if isinstance(self.writer, EncoderDecoderWriter) else None
        first = longest if begins is None else len(begins)
        capacity = max(rounded(first + most), tokens.shape[1] if begins is None else 0)
        return self._read_rows(self._leaves, tokens, lengths, capacity=capacity)

    @cached_property
    def _read_rows(self) -> Any:
        def read(leaves: Any, tokens: Array, lengths: Array, capacity: int) -> Any:
            return self._form.unflatten(leaves).read(tokens, lengths, capacity)

        return jax.jit(read, static_argnames="capacity")

    @cached_property
    def _advance(self) -> Any:
        def advance(leaves: Any, tokens: Array, cache: Cache) -> Any:
            return self._form.unflatten(leaves).advance(tokens, cache)

        return jax.jit(advance, donate_argnums=2)

    @cached_property
    def _choose(self) -> Any:
        def chosen(
            sampling: Sampling, key: Array, rows: Array, number: Array, logits: Array, banned: Any
        ) -> Array:
            return choose(sampling, key, rows, number, _without(logits, banned))

        return jax.jit(chosen, static_argnums=0)

    @cached_property
    def _candidates(self) -> Any:
        def candidates(logits: Array, scores: Array, banned: Any, count: int) -> Any:
            return best_candidates(_without(logits, banned), scores, count)

        return jax.jit(candidates, static_argnames="count")

    @cached_property
    def _rows(self) -> Any:
        return jax.jit(Cache.rows)


def rounded(length: int) -> int:
    """Rounds a `length` up: to a power of two from 16 on, above 128 to a multiple of 128."""
    if length > BLOCK:
        return -(-length // BLOCK) * BLOCK
    return max(FEWEST, 1 << (length - 1).bit_length())


def _without(logits: Array, banned: Array | None) -> Array:
    return logits if banned is None else jnp.where(banned, -jnp.inf, logits)
