"""Word vectors: a word is told from others by the words around it (word2vec).

    skip-gram  mean over pairs (word, neighbour) of - log s(v_word . u_neighbour) - sum_k log s(-v_word . u_k)
    CBOW       mean over words of                   - log s(m . u_word) - sum_k log s(-m . u_k)

s the logistic function, m the mean of the neighbours' v, u_k words drawn as they occur, to the power 0.75.
Mikolov et al. 2013a ("Efficient Estimation", section 3: both models, and windows of random reach) and 2013b
("Distributed Representations", sections 2.2 and 2.3: negative sampling, subsampling of frequent words).

Words are the tokens of the rows. Those that subsampling drops are taken out before neighbours are looked for,
as in word2vec, so that a window reaches further. Negatives are drawn once for a word and serve all its pairs
(Ji et al. 2016, "Parallelizing Word2Vec in Shared and Distributed Memory", section 3: as good, and a tenth of
the traffic to memory). One that happens to be a neighbour stays.

    batch   rows                   near    2 window: places before and behind a word
    length  tokens of a row        count   negatives of a word
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import InputError
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.pretraining.word_vectors import WordVectorModel
from jaxssl.objectives.batches.batch import Ratio, Text, Vocabulary, share_evenly
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.positions import read_at


class Examples(NamedTuple):
    """The words that were kept, moved together, and what each is compared with."""

    tokens: Int[Array, "batch length"]
    near: Float[Array, "batch length near"]  # weights of the pairs, adding up to one over the batch
    negatives: Int[Array, "batch length count"]
    total: Float[Array, " batch"]  # pairs of the global batch, the same in every row
    words: Float[Array, "batch length"]  # weights of the words that have a neighbour
    total_words: Float[Array, " batch"]
    kept: Float[Array, " batch"]  # words that subsampling has left, of …
    read: Float[Array, " batch"]  # … those that were read


@dataclass(frozen=True)
class WordVectors(Objective):
    """Skip-gram or CBOW with negative sampling (Mikolov et al. 2013)."""

    counts_tokens: ClassVar[bool] = True  # asks for the tokens' frequency

    width: int = 100
    model: Literal["skip_gram", "cbow"] = "skip_gram"
    window: int = 5  # most words to either side; each word draws its own reach, 1 … window
    negatives: int = 5
    power: float = 0.75  # negatives are drawn as frequency^power
    subsample: float = (
        1e-4  # words more frequent than this are kept with sqrt(subsample / frequency)
    )

    def __post_init__(self) -> None:
        if self.model not in ("skip_gram", "cbow"):
            raise InputError(f"model={self.model!r} is unknown; use skip_gram or cbow")
        for name in ("width", "window", "negatives"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")
        if self.subsample <= 0:
            raise InputError(f"subsample={self.subsample} must be above 0; 1 keeps every word")

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where neighbours stand: -window … -1, 1 … window."""
        return tuple(o for o in range(-self.window, self.window + 1) if o)

    def init(self, key: Array, spec: Any) -> WordVectorModel:
        """Two tables [vocab, width]."""
        return WordVectorModel(key, self.width, spec.vocab_size)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Drops frequent words, draws reaches and negatives; weights are those of the global batch."""
        keep_key, reach_key, negative_key = jax.random.split(key, 3)
        tokens, vocabulary = batch
        is_word = ~vocabulary.special[tokens]
        frequency = jnp.maximum(vocabulary.frequency[tokens], 1e-12)
        chance = jnp.sqrt(self.subsample / frequency)
        kept = is_word & (jax.random.uniform(keep_key, tokens.shape) < chance)
        order = jnp.argsort(~kept, axis=1, stable=True)
        segments = segments_of(tokens, vocabulary.begin, vocabulary.pad)
        segments = read_at(jnp.where(kept, segments, 0), order)
        reach = jax.random.randint(reach_key, tokens.shape, 1, self.window + 1)
        is_pair = jnp.stack(
            [
                (segments != 0) & (_shift(segments, offset) == segments) & (abs(offset) <= reach)
                for offset in self.offsets
            ],
            axis=-1,
        )
        near, total = share_evenly(is_pair)
        words, total_words = share_evenly(is_pair.any(axis=-1))
        rows = tokens.shape[0]
        return Examples(
            tokens=read_at(tokens, order),
            near=near,
            negatives=self._draw(negative_key, (*tokens.shape, self.negatives), vocabulary),
            total=jnp.broadcast_to(total, rows),
            words=words,
            total_words=jnp.broadcast_to(total_words, rows),
            kept=kept.sum(axis=1).astype(jnp.float32),
            read=is_word.sum(axis=1).astype(jnp.float32),
        )

    def loss(
        self, model: WordVectorModel, state: Any, examples: Examples, key: Array | None
    ) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
        """The weighted sum over these pairs, or words; there is no dropout."""
        if self.model == "skip_gram":
            nats, total = self._skip_gram(model, examples), examples.total[0]
            weight = examples.near.sum()
        else:
            nats, total = self._cbow(model, examples), examples.total_words[0]
            weight = examples.words.sum()
        metrics = {
            "loss": Ratio(nats * total, weight * total),
            "kept": Ratio(examples.kept.sum(), examples.read.sum()),
        }
        return nats, (state, metrics)

    def _skip_gram(self, model: WordVectorModel, examples: Examples) -> Float[Array, ""]:
        """All words of a row by all others is one product of matrices, of which the pairs are a band."""
        words, contexts = (
            table(examples.tokens, "vocab") for table in (model.words, model.contexts)
        )
        negatives = self._negatives(model, examples)
        products = jnp.einsum("bid,bjd->bij", words, contexts)
        away = jnp.einsum("bid,bikd->bik", words, negatives)
        near = jax.nn.softplus(-_read_band(products, self.offsets))
        against = jax.nn.softplus(away).sum(axis=-1, keepdims=True)
        return ((near + against) * examples.near).sum()

    def _cbow(self, model: WordVectorModel, examples: Examples) -> Float[Array, ""]:
        words = model.words(examples.tokens, "vocab")
        is_near = (examples.near > 0).astype(words.dtype)
        summed = sum(
            is_near[:, :, i, None] * _shift(words, offset) for i, offset in enumerate(self.offsets)
        )
        mean = summed / jnp.maximum(is_near.sum(axis=2, keepdims=True), 1)
        return losses.negative_sampling(
            mean,
            model.contexts(examples.tokens, "vocab"),
            self._negatives(model, examples),
            examples.words,
            normalize=False,
        )

    def _negatives(
        self, model: WordVectorModel, examples: Examples
    ) -> Float[Array, "batch length count width"]:
        shape = examples.negatives.shape
        rows = model.contexts(examples.negatives.reshape(shape[0], -1), "vocab")
        return rows.reshape(*shape, rows.shape[-1])

    def _draw(
        self, key: Array, shape: tuple[int, ...], vocabulary: Vocabulary
    ) -> Int[Array, "batch length count"]:
        """Tokens as frequency^power has them."""
        upto = jnp.cumsum(jnp.power(vocabulary.frequency, self.power))
        drawn = jnp.searchsorted(upto, jax.random.uniform(key, shape) * upto[-1], side="right")
        return jnp.minimum(drawn, upto.shape[0] - 1).astype(jnp.int32)


def _shift(rows: Array, offset: int) -> Array:
    """At every place what stands `offset` places further on; zeros beyond the ends."""
    length = rows.shape[1]
    before, behind = max(-offset, 0), max(offset, 0)
    padded = jnp.pad(rows, ((0, 0), (before, behind), *[(0, 0)] * (rows.ndim - 2)))
    return padded[:, behind : behind + length]


def _read_band(
    products: Float[Array, "batch length length"], offsets: tuple[int, ...]
) -> Float[Array, "batch length near"]:
    """At every place the columns that stand `offsets` further on; the ends' own where there are none."""
    length = products.shape[1]
    columns = jnp.arange(length)[:, None] + jnp.array(offsets)[None]
    columns = jnp.clip(columns, 0, length - 1)[None]
    return jnp.take_along_axis(products, columns, axis=2)
