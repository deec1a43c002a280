"""Embeds texts with the pretrained network of a run: one vector for each text.

embed = load_embedder("runs/simcse_novels")
vectors = embed(["two dogs run", "dogs are running"])        # float32 [texts, width]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxssl.data.labelled.example_batches import (
    ExampleBatches,
    LabelledSpec,
    batch_for,
    encode,
    padded_lengths,
    truncate,
)
from jaxssl.data.tokenizers.given_texts import given_texts
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.layers.pooling import Pooling, pool_pieces
from jaxssl.pretrained.load import load_pretrained


@dataclass(frozen=True)
class Embedder:
    """A function from texts to vectors: a network with its tokenizer and pooling."""

    network: Any
    """Pretrained network, a Flax module with a `config`."""
    tokenizer: Tokenizer
    """Tokenizer that the network was trained with."""
    pooling: Pooling
    """How the states of a text become one vector: their "mean", or the state of the begin token ("cls")."""
    batch: int = 64
    """Number of texts that are embedded at a time."""

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "texts width"]:
        """Embeds `texts`, and returns float32 vectors `[texts, width]` in their order.

        The network reads `begin`, the tokens of the text and `end`, without dropout. A text that is longer
        than the network's `max_length` is truncated. Raises InputError if `texts` is a single string.
        """
        texts = given_texts(texts)
        width, limit = self.network.config.width, self.network.config.max_length
        if not len(texts):
            return np.zeros((0, width), np.float32)
        no_labels = np.zeros(len(texts), np.int32)
        examples, _ = truncate(encode(self.tokenizer, texts, None, no_labels), limit)
        spec = LabelledSpec.of(
            self.tokenizer,
            batch=batch_for(len(texts), self.batch),
            lengths=padded_lengths(limit),
            classes=1,
        )
        batches = ExampleBatches(examples, spec, shuffle=False)
        vectors = np.zeros((len(texts), width), np.float32)
        for number in range(batches.batches):
            ids = batches.row_ids(number)
            found = self._compiled(self.network, batches.batch(number)["tokens"])
            vectors[ids] = np.asarray(found)[: len(ids)]
        return vectors

    @cached_property
    def _compiled(self) -> Any:
        def pooled(network: Any, tokens: Array) -> Array:
            segments = segments_of(tokens, self.tokenizer.begin, self.tokenizer.pad)
            states = network(tokens, segments)
            return pool_pieces(states, segments, pieces=1, pooling=self.pooling)[:, 0]

        return jax.jit(pooled)


def load_embedder(run: str | Path, pooling: Pooling | None = None) -> Embedder:
    """Loads the network of a run's best checkpoint for embedding texts.

    Args:
      run: Folder of a pretraining run, or its URL.
      pooling: "mean" or "cls"; None takes the `text_pooling` of the run's objective, which is the pooling
        that SimCSE was trained with, and "mean" by default for other objectives.

    Raises:
      InputError: There is no run or no checkpoint, the run has read no text, its objective has no network
        for texts, or `pooling` is "cls" for a causal network, whose first state has seen no text.
    """
    pretrained = load_pretrained(run)
    network = pretrained.text_network
    if pooling is None:
        pooling = pretrained.objective.text_pooling
    if network.config.causal and pooling == "cls":
        raise InputError(
            'pooling="cls" takes the first state, and that of a causal network has seen no text; set '
            'pooling to "mean"'
        )
    return Embedder(network, pretrained.tokenizer, pooling)


def cosines(
    first: Float[np.ndarray, "texts width"], second: Float[np.ndarray, "texts width"]
) -> Float[np.ndarray, " texts"]:
    """Computes the cosine similarity of each row of `first` with the same row of `second`.

    Both are `[texts, width]`, the result is `[texts]`. It is 0 where one of the two rows is all zeros.
    """
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.where(lengths > 0, (first * second).sum(axis=1) / np.maximum(lengths, 1e-30), 0.0)
