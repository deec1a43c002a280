"""SimCSE: a text is recognised by its own embedding under another dropout mask.

    z_i, z_i' = the text's embedding under two dropout masks,   t the temperature
    loss = - mean over texts i of log(exp(cos(z_i, z_i')/t) / sum_j exp(cos(z_i, z_j')/t))
           [+ weight x masked LM]

Gao et al. 2021, "SimCSE", section 3 (unsupervised) and appendix C (masked LM beside it). With `deletion` the
second view lacks some of the tokens, as in table 1: there, from BERT, dropout alone is better; from our small
encoder deletion is (benchmarks/RESULTS.md). A text is a piece of a packed row: attention stays within it, so
that its embedding does not depend on what was packed beside it, and a row of many short documents gives as
many texts.

    batch    rows                 texts   pieces of a row that are embedded, at most
    length   tokens of a row      width   of an embedding
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import InputError
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.layers.pooling import Pooling, pool_pieces
from jaxssl.models.pretraining.masked_language_model import MaskedLanguageModel
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives import masked_lm
from jaxssl.objectives.batches.batch import Ratio, Text, share_evenly
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.objectives.denoising import delete_tokens
from jaxssl.objectives.joint_embedding.geometry import geometry
from jaxssl.sharding.contrastive import over_all_rows

Metrics = dict[str, Ratio]


class Examples(NamedTuple):
    """Rows as they were read, and the weights of their texts, which add up to one."""

    tokens: Int[Array, "batch length"]
    segments: Int[Array, "batch length"]
    second: tuple[Array, Array] | None  # the same of the second view, where it lacks tokens
    weights: Float[Array, "batch texts"]  # 0 where a row has fewer
    total: Float[Array, " batch"]  # texts of the global batch, the same in every row
    hidden: masked_lm.Examples | None  # of the masked LM beside it


class Embeddings(NamedTuple):
    """What each row gives: its texts twice, and its share of the sums of masked LM."""

    first: Float[Array, "batch texts width"]
    second: Float[Array, "batch texts width"]
    language: tuple[Array, Metrics] | None


@dataclass(frozen=True)
class SimCSE(ContrastiveObjective):
    """Contrast texts under two dropout masks (Gao et al. 2021, section 3)."""

    encoder: TransformerConfig
    pooling: Literal["mean", "cls", "projector"] = "cls"  # projector: tanh(dense(cls)), see below
    temperature: float = 0.05
    texts: int = 4
    deletion: float = 0.0  # share of the tokens that the second view lacks
    masked_lm_weight: float = 0.0  # 0: none; 0.1 in appendix C
    rate: float = 0.15  # share of the tokens that it hides
    block_size: int | None = None  # texts at a time; None holds all [texts, texts] cosines

    def __post_init__(self) -> None:
        if self.pooling not in ("mean", "cls", "projector"):
            raise InputError(f"pooling={self.pooling!r} is unknown; use mean, cls or projector")
        if self.temperature <= 0:
            raise InputError(f"temperature={self.temperature} must be above 0, e.g. 0.05")
        if self.texts < 1:
            raise InputError(f"texts={self.texts} must be at least 1")
        if not 0 <= self.deletion < 1:
            raise InputError(f"deletion={self.deletion} must be at least 0 and below 1, e.g. 0.1")
        if self.masked_lm_weight < 0:
            raise InputError(f"masked_lm_weight={self.masked_lm_weight} must not be negative")
        if self.encoder.causal:
            raise InputError("SimCSE reads from both sides; set encoder.causal to False")
        if max(self.encoder.dropout, self.encoder.attention_dropout or 0.0) == 0:
            raise InputError(
                "without dropout a text's two embeddings are one; set encoder.dropout=0.1"
            )

    @property
    def text_pooling(self) -> Pooling:
        """How a text is embedded for use: the projector is trained with and then left out."""
        return "mean" if self.pooling == "mean" else "cls"

    @property
    def language_task(self) -> masked_lm.MaskedLM:
        """The masked LM beside it."""
        return masked_lm.MaskedLM(self.encoder, rate=self.rate)

    def init(self, key: Array, spec: Any) -> MaskedLanguageModel:
        """The network of masked LM, so that either can start from the other; projector = its pooler."""
        if spec.length > self.encoder.max_length:
            raise InputError(
                f"rows of {spec.length} tokens exceed max_length {self.encoder.max_length} of the "
                "model; prepare shorter rows or raise --objective.encoder.max-length"
            )
        return MaskedLanguageModel(
            key,
            self.encoder,
            spec.vocab_size,
            with_pairs=False,
            with_pooler=self.pooling == "projector",
        )

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Dropout tells the views apart, and deletion; weights are normalised over the global batch."""
        tokens, vocabulary = batch
        segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
        second = None
        if self.deletion:
            shorter = delete_tokens(jax.random.fold_in(key, 1), tokens, vocabulary, self.deletion)
            second = shorter, segments_of(shorter, vocabulary.begin, vocabulary.pad)
        is_text = jnp.arange(1, self.texts + 1)[None] <= segments.max(axis=1, keepdims=True)
        weights, total = share_evenly(is_text)
        return Examples(
            tokens=tokens,
            segments=segments,
            second=second,
            weights=weights,
            total=jnp.broadcast_to(total, tokens.shape[0]),
            hidden=self.language_task.corrupt(batch, key) if self.masked_lm_weight else None,
        )

    def embed(
        self, model: MaskedLanguageModel, state: Any, examples: Examples, key: Array | None
    ) -> Embeddings:
        """Both embeddings of every text. The masks are the task: without a key they are fixed ones."""
        rows = examples.tokens.shape[0]
        mask_key, language_key = jax.random.split(jax.random.key(0) if key is None else key)
        # A row stands beside its copy: its places differ, so its masks do, and no row is moved.
        first = examples.tokens, examples.segments
        tokens, segments = (
            jnp.stack(views, axis=1).reshape(2 * rows, -1)
            for views in zip(first, examples.second or first, strict=True)
        )
        pooled = self._pool(model, tokens, segments, mask_key)
        views = pooled.reshape(rows, 2, *pooled.shape[1:])
        language = None
        if examples.hidden is not None:
            task = self.language_task
            nats, (_, metrics) = task.loss(
                model, (), examples.hidden, None if key is None else language_key
            )
            language = jax.tree.map(lambda sum: jnp.full(rows, sum / rows), (nats, metrics))
        return Embeddings(views[:, 0], views[:, 1], language)

    def contrast(
        self,
        model: MaskedLanguageModel,
        state: Any,
        embeddings: Embeddings,
        examples: Examples,
    ) -> tuple[Float[Array, ""], tuple[Any, Metrics]]:
        """The loss over all texts of the global batch, and how they lie."""
        width = embeddings.first.shape[-1]
        first, second = (z.reshape(-1, width) for z in (embeddings.first, embeddings.second))
        weights, total = examples.weights.reshape(-1), examples.total[0]
        nats = over_all_rows(
            losses.info_nce,
            first,
            second,
            weights,
            temperature=self.temperature,
            symmetric=False,
            block_size=self.block_size,
        )
        metrics = {"loss": Ratio(nats * total, total), **geometry(first, second, weights > 0)}
        if embeddings.language is None:
            return nats, (state, metrics)
        more, language = jax.tree.map(jnp.sum, embeddings.language)
        nats += self.masked_lm_weight * more
        metrics["loss"] = Ratio(nats * total, total)
        metrics["masked_lm_loss"] = language["loss"]
        return nats, (state, metrics)

    def _pool(
        self, model: MaskedLanguageModel, tokens: Array, segments: Array, key: Array
    ) -> Float[Array, "batch texts width"]:
        states = model.encoder(tokens, segments, key=key)
        pooled = pool_pieces(states, segments, pieces=self.texts, pooling=self.text_pooling)
        if model.pooler is None:
            return pooled
        return jnp.tanh(model.pooler(pooled))
