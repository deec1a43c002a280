"""A pretrained network off the disk, ready to embed texts.

embed = load_embedder("runs/simcse_novels")
vectors = embed(["two dogs run", "dogs are running"])        # float32 [2, width]
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
    bucket_lengths,
    encode,
    truncate,
)
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.layers.pooling import Pooling, pool_pieces
from jaxssl.pretrained.load import load_pretrained

BUCKETS = 4  # lengths that texts are padded to


@dataclass(frozen=True)
class Embedder:
    """A network, its tokenizer, and how the states of a text become one vector."""

    network: Any
    tokenizer: Tokenizer
    pooling: Pooling
    batch: int = 64

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, "texts width"]:
        """[begin] text [end] of every text through the network, without dropout; long ones are cut."""
        width, limit = self.network.config.width, self.network.config.max_length
        if not len(texts):
            return np.zeros((0, width), np.float32)
        whole = encode(self.tokenizer, texts, None, np.zeros(len(texts), np.int32))
        examples, _ = truncate(whole, limit)
        spec = LabelledSpec.of(
            self.tokenizer,
            batch=min(self.batch, len(texts)),
            lengths=bucket_lengths(examples.sizes, limit, BUCKETS),
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
    """The best checkpoint of a pretraining; pooled as SimCSE was trained, other networks by the mean.

    Raises InputError where there is no such run, or for the first state of a causal network.
    """
    pretrained = load_pretrained(run)
    objective, model = pretrained.objective, pretrained.model
    if pooling is None:
        pooling = objective.text_pooling
    network = objective.network(model)
    if network.config.causal and pooling == "cls":
        raise InputError("a causal network's first state has seen no text; choose pooling mean")
    return Embedder(network, pretrained.tokenizer, pooling)


def cosines(
    first: Float[np.ndarray, "texts width"], second: Float[np.ndarray, "texts width"]
) -> Float[np.ndarray, " texts"]:
    """The cosine of every pair of rows; 0 where one of them is all zero."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.where(lengths > 0, (first * second).sum(axis=1) / np.maximum(lengths, 1e-30), 0.0)
