"""Language models that write: prompts to the logits of the next token, and on from token to token.

batch      rows                        vocab      number of token ids
length     tokens of the longest prompt
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl.models.decoding.cache import Cache
from jaxssl.models.decoding.steps import Layers, advance, read, unstacked
from jaxssl.models.encoder_decoder import EncoderDecoder, Memory
from jaxssl.models.layers.packing import positions_of
from jaxssl.models.pretraining.causal_language_model import CausalLanguageModel
from jaxssl.models.transformer_config import TransformerConfig

Logits = Float[Array, "batch vocab"]
Tokens = Int[Array, "batch length"]
Lengths = Int[Array, " batch"]


class Writer(Protocol):
    """A language model that writes token by token: a pytree with pure methods."""

    def read(self, tokens: Tokens, lengths: Lengths, capacity: int) -> tuple[Logits, Cache]:
        """Reads prompts.

        Args:
          tokens: Prompts, int32 `[batch, length]`, with padding behind the shorter ones.
          lengths: Tokens of each prompt, `[batch]`.
          capacity: Tokens that a row of the decoder may have.

        Returns:
          Float32 logits of the token that follows each prompt, `[batch, vocab]`, and the cache.
        """

    def advance(self, tokens: Lengths, cache: Cache) -> tuple[Logits, Cache]:
        """Reads one more token of every row.

        Args:
          tokens: The tokens, `[batch]`.
          cache: What was read before.

        Returns:
          Float32 logits of the next token, `[batch, vocab]`, and the cache with these tokens.
        """


def _static(default: Any) -> Any:
    return field(default=default, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CausalWriter:
    """A decoder that goes on with its prompts."""

    model: CausalLanguageModel
    """The decoder with its head."""
    layers: Layers
    """The decoder's layers, unstacked."""
    prefix: bool = _static(False)
    """Whether the tokens of a prompt see each other (prefix LM)."""

    @classmethod
    def of(cls, model: CausalLanguageModel, *, prefix: bool = False) -> "CausalWriter":
        """Makes the writer of a `model`, trained as a prefix LM or not (`prefix`)."""
        return cls(model, unstacked(model.decoder), prefix)

    @property
    def config(self) -> TransformerConfig:
        """Configuration of the network that writes."""
        return self.model.decoder.config

    def read(self, tokens: Tokens, lengths: Lengths, capacity: int) -> tuple[Logits, Cache]:
        """Reads prompts `tokens` `[batch, length]` of `lengths` `[batch]` into a cache of `capacity`."""
        decoder = self.model.decoder
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1])[None], tokens.shape)
        x = decoder.embed(tokens, positions)
        states, cache = read(decoder, self.layers, x, lengths, capacity, prefix=self.prefix)
        return _logits(self.model, states), cache

    def advance(self, tokens: Lengths, cache: Cache) -> tuple[Logits, Cache]:
        """Reads one more token of every row, `tokens` `[batch]`, into the `cache`."""
        decoder = self.model.decoder
        x = decoder.embed(tokens[:, None], cache.lengths[:, None])
        states, cache = advance(decoder, self.layers, x, cache)
        return _logits(self.model, states), cache


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EncoderDecoderWriter:
    """An encoder that reads the prompts, and a decoder that writes."""

    model: EncoderDecoder
    """Both, with their table and head."""
    layers: Layers
    """The decoder's layers, unstacked."""
    begin: tuple[int, ...] = _static(())
    """Tokens that the decoder begins with."""
    bottleneck: int | None = _static(None)
    """How many states of a prompt the decoder sees, the first ones; None for all."""

    @classmethod
    def of(
        cls, model: EncoderDecoder, begin: tuple[int, ...], *, bottleneck: int | None = None
    ) -> "EncoderDecoderWriter":
        """Makes the writer of a model.

        Args:
          model: Encoder and decoder.
          begin: Tokens that the decoder begins with, at least one.
          bottleneck: How many states of a prompt the decoder sees; None for all.
        """
        return cls(model, unstacked(model.decoder), begin, bottleneck)

    @property
    def config(self) -> TransformerConfig:
        """Configuration of the network that writes."""
        return self.model.decoder.config

    def read(self, tokens: Tokens, lengths: Lengths, capacity: int) -> tuple[Logits, Cache]:
        """Encodes prompts `tokens` `[batch, length]` of `lengths` `[batch]`, and begins to write.

        The decoder's cache has the given `capacity`.
        """
        decoder = self.model.decoder
        segments = (jnp.arange(tokens.shape[1])[None] < lengths[:, None]).astype(jnp.int32)
        states = self.model.encoder(tokens, segments)
        if self.bottleneck is not None:
            segments = jnp.where(positions_of(segments) < self.bottleneck, segments, 0)
        first = jnp.broadcast_to(jnp.array(self.begin, jnp.int32), (len(tokens), len(self.begin)))
        x = self._embed(first, jnp.zeros(len(tokens), jnp.int32))
        written, cache = read(
            decoder,
            self.layers,
            x,
            jnp.full(len(tokens), len(self.begin), jnp.int32),
            capacity,
            memory=Memory(states, segments),
        )
        return _logits(self.model, written), cache

    def advance(self, tokens: Lengths, cache: Cache) -> tuple[Logits, Cache]:
        """Writes one more token of every row, `tokens` `[batch]`, into the `cache`."""
        x = self._embed(tokens[:, None], cache.lengths)
        states, cache = advance(self.model.decoder, self.layers, x, cache)
        return _logits(self.model, states), cache

    def _embed(self, tokens: Tokens, lengths: Lengths) -> Array:
        positions = lengths[:, None] + jnp.arange(tokens.shape[1])[None]
        return self.model.decoder.embed(self.model.embed(tokens), positions)


def _logits(model: CausalLanguageModel | EncoderDecoder, states: Array) -> Logits:
    kernel = model.output_embedding().astype(states.dtype)
    return jnp.einsum("bw,vw->bv", states, kernel, preferred_element_type=jnp.float32)
