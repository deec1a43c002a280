"""Embeds texts with a pretrained network: one vector for each text.

embed = load_embedder("runs/simcse_novels")
vectors = embed(["two dogs run", "dogs are running"])        # float32 [texts, width]

embed = load_embedder("hf:all-MiniLM-L6-v2")                 # a folder of sentence-transformers
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxssl.data.progress import TextProgress
from jaxssl.data.tokenizers.around import tokens_around
from jaxssl.data.tokenizers.given_texts import given_texts
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, check_at_least
from jaxssl.interop.huggingface.folder import HF, is_hugging_face
from jaxssl.interop.sentence_transformers import read_sentence_settings
from jaxssl.models.layers.pooling import Pooling, pool_pieces
from jaxssl.pretrained.load import Pretrained, load_pretrained
from jaxssl.pretrained.packed_texts import PackedBatch, packed_batches
from jaxssl.sharding.layout import path_of

SORTED_TOGETHER = 65_536  # texts that are encoded and packed at a time
BATCH_TOKENS = {"cpu": 2048}  # tokens of a batch by platform: on a CPU what fits into its caches
BATCH_TOKENS_ELSEWHERE = 32_768


@dataclass(frozen=True)
class Embedder:
    """A function from texts to vectors: a network with its tokenizer and pooling."""

    network: Any
    """Pretrained network, a Flax module with a `config`."""
    tokenizer: Tokenizer
    """Tokenizer that the network was trained with."""
    pooling: Pooling
    """How the states of a text become one vector: their "mean", the state of the first token ("cls") or of
    the "last" one, or the largest number of each feature ("max")."""
    batch: int | None = None
    """Number of tokens that are computed at a time, padding included. None: 2,048 on a CPU, else 32,768."""
    normalized: bool = False
    """Whether every vector is divided by its Euclidean length."""
    max_length: int | None = None
    """Tokens that are read of a text, those around it included; None: the `max_length` of the network."""
    around: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    """Ids that the network reads before and behind a text; None: `begin` and `end` of the tokenizer."""
    reads_padding: bool = False
    """Whether every text is padded to `max_length` and the padding is read like words (SigLIP)."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "batch", "max_length")
        before, behind = self._around
        if self._longest <= len(before) + len(behind):
            raise InputError(
                f"max_length={self._longest} leaves no token of a text beside the special ones; raise it"
            )

    def __call__(
        self, texts: Sequence[str], progress: TextProgress | None = None
    ) -> Float[np.ndarray, "texts width"]:
        """Embeds texts.

        The network reads the tokens of a text between those `around` it, without dropout, and several texts
        in one row, none of which sees another. A text that is longer than `max_length` is truncated.

        Args:
          texts: The texts.
          progress: Shows how far the work is and how long it will take; None shows nothing.

        Returns:
          float32 vectors `[texts, width]` in the order of the texts.

        Raises:
          InputError: `texts` is a single string, or contains what is not a string.
        """
        texts = given_texts(texts)
        vectors = np.zeros((len(texts), self.network.config.width), np.float32)
        sizes = np.array([len(text.encode()) for text in texts], np.int64)
        if progress is not None:
            progress.begin("embedding", int(sizes.sum()), things="texts")
        for first in range(0, len(texts), SORTED_TOGETHER):
            part = slice(first, first + SORTED_TOGETHER)
            self._embed(texts[part], vectors[part], sizes[part], progress)
        return vectors

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that decides about the vectors but the texts."""
        total = hashlib.sha256()
        settings: tuple[Any, ...] = (self.pooling, self.normalized, self._longest, self._around)
        settings += (self.reads_padding,) if self.reads_padding else ()
        total.update(f"{self.tokenizer.fingerprint} {settings} {self.network.config}".encode())
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.network):
            total.update(f"{path_of(path)} {leaf.shape} {leaf.dtype}".encode())
            total.update(np.ascontiguousarray(leaf).tobytes())
        return total.hexdigest()

    def _embed(
        self,
        texts: Sequence[str],
        vectors: np.ndarray,
        sizes: np.ndarray,
        progress: TextProgress | None,
    ) -> None:
        """Writes the vectors of some texts, whose sizes in bytes are given for the progress."""
        batches = packed_batches(
            self._encoded(texts), pad=self.tokenizer.pad, longest=self._longest, tokens=self._tokens
        )
        pending: list[tuple[PackedBatch, Array]] = []

        def finish() -> None:
            batch, found = pending.pop(0)
            flat = np.asarray(found).reshape(-1, vectors.shape[1])
            vectors[batch.texts] = flat[batch.where]
            if progress is not None:
                tokens = int((batch.segments > 0).sum())
                progress.add(
                    documents=len(batch.texts),
                    text_bytes=int(sizes[batch.texts].sum()),
                    tokens=tokens,
                )

        for batch in batches:
            found = self._compiled(self.network, batch.tokens, batch.segments, pieces=batch.pieces)
            pending.append((batch, found))
            if (
                len(pending) > 1
            ):  # the host prepares a batch while the device computes the one before
                finish()
        while pending:
            finish()

    def _encoded(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text, truncated, with those around it."""
        before, behind = (np.array(ids, np.int32) for ids in self._around)
        room = self._longest - len(before) - len(behind)
        found = [
            np.concatenate((before, ids[:room], behind)) for ids in self.tokenizer.encode(texts)
        ]
        if not self.reads_padding:
            return found
        whole, pad = self._longest, self.tokenizer.pad
        return [np.pad(ids, (0, whole - len(ids)), constant_values=pad) for ids in found]

    @property
    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if self.around is not None:
            return self.around
        rows = self.network.tokens.embedding.shape[0]
        begin, end = (
            self.tokenizer.with_row(getattr(self.tokenizer, role), rows)
            for role in ("begin", "end")
        )
        return (begin,), (end,)

    @property
    def _longest(self) -> int:
        limit: int = self.network.config.max_length
        return limit if self.max_length is None else min(limit, self.max_length)

    @property
    def _tokens(self) -> int:
        return self.batch or BATCH_TOKENS.get(jax.default_backend(), BATCH_TOKENS_ELSEWHERE)

    @cached_property
    def _compiled(self) -> Any:
        def pooled(network: Any, tokens: Array, segments: Array, *, pieces: int) -> Array:
            states = network(tokens, segments)
            vectors = pool_pieces(states, segments, pieces=pieces, pooling=self.pooling)
            if not self.normalized:
                return vectors
            lengths = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
            return vectors / jnp.maximum(lengths, 1e-12)

        return jax.jit(pooled, static_argnames="pieces")


def load_embedder(run: str | Path, pooling: Pooling | None = None, **settings: Any) -> Embedder:
    """Loads the network of a run's best checkpoint, or of a Hugging Face folder, for embedding texts.

    Args:
      run: Folder of a pretraining run, or its URL; or `hf:FOLDER`. The folder of a `SentenceTransformer` has
        its own pooling, normalisation and length.
      pooling: "mean", "cls", "last" or "max"; None takes that of the folder, or the `text_pooling` of the
        run's objective, which is the pooling that SimCSE was trained with, and "mean" by default for other
        objectives.
      settings: Other fields of `Embedder`, such as `normalized`; they have priority over a folder's.

    Raises:
      InputError: There is no run or no checkpoint, the run has read no text, its objective has no network
        for texts, or `pooling` is "cls" for a causal network, whose first state has seen no text.
    """
    return text_embedder(run, load_pretrained(run), pooling, **settings)


def text_embedder(
    run: str | Path, pretrained: Pretrained, pooling: Pooling | None = None, **settings: Any
) -> Embedder:
    """Returns the embedder of a network that is loaded.

    Args:
      run: What it was loaded from, as `load_embedder` takes it.
      pretrained: The network.
      pooling: As `load_embedder` takes it.
      settings: Other fields of `Embedder`.

    Raises:
      InputError: As `load_embedder` does.
    """
    network = pretrained.text_network
    own = _settings_of(str(run).removeprefix(HF)) if is_hugging_face(run) else {}
    of_folder = own.pop("pooling", pretrained.objective.text_pooling)
    pooling = of_folder if pooling is None else pooling
    if network.config.causal and pooling == "cls":
        raise InputError(
            'pooling="cls" takes the first state, and that of a causal network has seen no text; set '
            'pooling to "last" or "mean"'
        )
    return Embedder(network, pretrained.tokenizer, pooling, **{**own, **settings})


def caption_embedder(run: str | Path, pretrained: Pretrained) -> Embedder:
    """Returns the embedder of captions of a network that contrasts images and texts, before the projection.

    Args:
      run: What it was loaded from, a run or `hf:FOLDER`.
      pretrained: The network, whose objective is an `ImageText`.
    """
    objective = pretrained.objective
    own = _settings_of(str(run).removeprefix(HF)) if is_hugging_face(run) else {}
    if objective.reads_padding:
        own |= {"reads_padding": True, "max_length": pretrained.spec.captions.length}
    settings = own | {"pooling": objective.pooling}
    return Embedder(pretrained.model.text, pretrained.tokenizer, **settings)


def _settings_of(folder: str) -> dict[str, Any]:
    """Fields of an `Embedder` that the files of a Hugging Face folder decide about."""
    own: dict[str, Any] = {"around": tokens_around(folder)}
    found = read_sentence_settings(folder)
    if found is not None:
        own |= {
            "pooling": found.pooling,
            "normalized": found.normalized,
            "max_length": found.max_length,
        }
    return own


def cosines(
    first: Float[np.ndarray, "texts width"], second: Float[np.ndarray, "texts width"]
) -> Float[np.ndarray, " texts"]:
    """Computes the cosine similarity of each row of `first` with the same row of `second`.

    Both are `[texts, width]`, the result is `[texts]`. It is 0 where one of the two rows is all zeros.
    """
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.where(lengths > 0, (first * second).sum(axis=1) / np.maximum(lengths, 1e-30), 0.0)
