"""SimCSE: recognise a text among others by its embedding under another dropout mask.

    z_i, z_i' = embeddings of text i under two dropout masks,   t the temperature
    loss = - mean over texts i of log(exp(cos(z_i, z_i') / t) / sum_j exp(cos(z_i, z_j') / t))
           [+ weight x masked LM]

With `deletion` the second view lacks some of the tokens, as in their table 1. There, from BERT, dropout
alone is better; from our small encoder deletion is better (benchmarks/RESULTS.md). A text is a document of
a packed row. Attention stays within it, so its embedding does not depend on the documents beside it, and a
row of many short documents yields as many texts.

Deviations from the paper, with the reason for each:
  - A text is a document of a packed row; SimCSE takes single sentences of Wikipedia, and rows of one. The
    documents of a row beyond `texts` are left out of the contrast (shapes are static); the metric
    `embedded` is the share of the documents that take part.
  - A text's embedding is by default the state of its begin token in training, too; the paper trains with a
    projector and leaves it out afterwards (`pooling="projector"`), which gains little there. The paper's
    projector starts at random, here from the pooler of the run that `--start` names, if that has one.
  - It may be trained from scratch; SimCSE starts from BERT or RoBERTa (`--start` does that).
  - Masked LM beside it hides tokens of one copy of a row, in their code of both (it costs a third pass
    instead of two), and their number is that of `masked_lm.py`.
  - `deletion` is theirs of table 1, but deletes an exact share instead of each token by chance.
  - Evaluation has dropout with a fixed key, since without it the two views are one.

References:
  Gao et al. 2021, "SimCSE: simple contrastive learning of sentence embeddings", section 3 (unsupervised)
  and appendix C (masked LM beside it).

    batch    rows                 texts   largest number of documents of a row that are embedded
    length   tokens of a row      width   width of an embedding
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import (
    InputError,
    check_above,
    check_at_least,
    check_choice,
    check_share,
    checked,
)
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.layers.pooling import Pooling, pool_pieces
from jaxssl.models.pretraining.masked_language_model import MaskedLanguageModel
from jaxssl.models.transformer_config import TransformerConfig, check_length
from jaxssl.objectives import masked_lm
from jaxssl.objectives.batches.batch import Metric, Ratio, SumOfRatios, Text, share_evenly
from jaxssl.objectives.contract import ContrastiveObjective
from jaxssl.objectives.denoising import delete_tokens
from jaxssl.objectives.joint_embedding.geometry import geometry
from jaxssl.sharding.contrastive import over_all_rows

Metrics = dict[str, Metric]


class Examples(NamedTuple):
    """Rows as they were read, and the weights of their texts."""

    tokens: Int[Array, "batch length"]
    """Tokens of the first view."""
    segments: Int[Array, "batch length"]
    """Number of the document of each token, from 1; 0 for padding."""
    second: tuple[Array, Array] | None
    """Tokens and segments of the second view, `[batch, length]` each; None where they are the same."""
    weights: Float[Array, "batch texts"]
    """Weights of the texts, 0 where a row has fewer; they add up to one over the global batch."""
    total: Float[Array, " batch"]
    """Number of texts of the global batch, the same in every row."""
    documents: Int[Array, " batch"]
    """Number of documents of the row, of which at most `texts` are embedded."""
    hidden: masked_lm.Examples | None
    """Examples of the masked LM beside it; None for none."""


class Embeddings(NamedTuple):
    """What each row contributes to a comparison of all rows."""

    first: Float[Array, "batch texts width"]
    """Embeddings of its texts under the first dropout mask."""
    second: Float[Array, "batch texts width"]
    """Embeddings of its texts under the second dropout mask."""
    language: tuple[Array, Metrics] | None
    """The row's share of the loss and of the metrics of masked LM, `[batch]` each; None without it."""


@dataclass(frozen=True)
@checked
class SimCSE(ContrastiveObjective):
    """Contrasts texts under two dropout masks (Gao et al. 2021, section 3)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    encoder: TransformerConfig
    """Network that sees a text from both sides; its dropout makes the two views."""
    pooling: Literal["mean", "cls", "projector"] = "cls"
    """Embedding of a text: the mean of its states, the state of its begin token, or tanh(dense) of that."""
    temperature: float = 0.05
    """Divisor of the cosines, above 0."""
    texts: int = 4
    """Largest number of documents of a row that are embedded."""
    deletion: float = 0.0
    """Fraction of the text tokens that the second view lacks, from 0 to below 1."""
    masked_lm_weight: float = 0.0
    """Weight of masked LM beside the contrast, 0.1 in appendix C; 0 for none."""
    rate: float = 0.15
    """Fraction of the text tokens that masked LM hides."""
    block_size: int | None = None
    """Texts whose cosines with all others are computed at a time; None holds all `[texts, texts]`."""

    def __post_init__(self) -> None:
        check_choice(self, "pooling", ("mean", "cls", "projector"))
        check_above(self, 0, "temperature")
        check_at_least(self, 1, "texts", "block_size")
        check_at_least(self, 0, "masked_lm_weight")
        check_share(self, "deletion")
        if self.encoder.causal:
            raise InputError("SimCSE reads from both sides; set encoder.causal to False")
        if max(self.encoder.dropout, self.encoder.attention_dropout or 0.0) == 0:
            raise InputError(
                f"encoder.dropout={self.encoder.dropout}: without dropout the two embeddings of a text are "
                "the same; set encoder.dropout to a rate such as 0.1"
            )

    @property
    def text_pooling(self) -> Pooling:
        """How a text is embedded after training, which leaves the projector out: "mean" or "cls"."""
        return "mean" if self.pooling == "mean" else "cls"

    @property
    def language_task(self) -> masked_lm.MaskedLM:
        """The masked LM beside the contrast."""
        return masked_lm.MaskedLM(self.encoder, rate=self.rate)

    def init(self, key: Array, spec: Any) -> MaskedLanguageModel:
        """Makes the network of masked LM, so that either can start from the other's parameters.

        With `pooling="projector"` its pooler is the projector.

        Args:
          key: Random key.
          spec: Description of the rows.
        """
        check_length(self.encoder, spec.length, network="encoder")
        return MaskedLanguageModel(
            key,
            self.encoder,
            spec.vocab_size,
            with_pairs=False,
            with_pooler=self.pooling == "projector",
        )

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Deletes tokens of the second view where asked for, and normalises weights over the global batch.

        Args:
          batch: Rows as they were read, tokens `[batch, length]`.
          key: Random key of deletion and of masked LM.
        """
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
            documents=segments.max(axis=1),
            hidden=self.language_task.corrupt(batch, key) if self.masked_lm_weight else None,
        )

    def embed(
        self, model: MaskedLanguageModel, state: Any, examples: Examples, key: Array | None
    ) -> Embeddings:
        """Computes both embeddings of every text, and each row's share of masked LM.

        Args:
          model: The network.
          state: Returned as it is.
          examples: Rows, `[batch, length]`.
          key: Random key of dropout. Without it (in evaluation) dropout has a fixed key, since the dropout
            masks are the task; only masked LM is then without dropout.
        """
        rows = examples.tokens.shape[0]
        mask_key, language_key = jax.random.split(jax.random.key(0) if key is None else key)
        # A row is beside its copy, so no row moves between devices. The two get different masks, since a
        # mask depends on the position in the batch.
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
        """Computes the loss over all texts of the global batch.

        Args:
          model: The network; unused here.
          state: Returned as it is.
          embeddings: What `embed` has made of all rows, `[batch, texts, width]`.
          examples: Their weights.

        Returns:
          The loss in nats, a scalar, and (the state, metrics by name).
        """
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
        contrast = Ratio(nats * total, total)
        metrics: Metrics = {"loss": contrast, **geometry(first, second, weights > 0)}
        embedded = (weights > 0).sum().astype(jnp.float32)
        metrics["embedded"] = Ratio(embedded, examples.documents.sum().astype(jnp.float32))
        if embeddings.language is None:
            return nats, (state, metrics)
        more, language = jax.tree.map(jnp.sum, embeddings.language)
        nats += self.masked_lm_weight * more
        metrics["loss"] = SumOfRatios.of((1.0, contrast), (self.masked_lm_weight, language["loss"]))
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
