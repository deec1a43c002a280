"""Word vectors: distinguish the words around a word from random words (word2vec: skip-gram and CBOW).

    skip-gram  mean over pairs (word, neighbour) of
                   - log s(v_word . u_neighbour) - sum_k log s(-v_word . u_k)
    CBOW       mean over words of
                   - log s(m . u_word) - sum_k log s(-m . u_k)

s is the logistic function, m the mean of the neighbours' v. The negatives u_k are words drawn with
probabilities proportional to their frequency to the power 0.75.

Words are the tokens of the rows. Words that subsampling drops are taken out before neighbours are looked
for, as in word2vec, so that a window reaches further. Negatives are drawn once for a word and serve all its
pairs (Ji et al. 2016: as good, with a tenth of the memory traffic). A negative that happens to be a
neighbour stays.

Deviations from the papers and from word2vec's code, with the reason for each:
  - The loss is a mean over pairs, or words, of a batch, and the optimizer is that of the recipe; word2vec
    updates after every pair with a rate that falls linearly (a device wants large batches).
  - Negatives are drawn once for a word and serve all its pairs; word2vec draws for every pair. One that is
    the true word or a neighbour stays; word2vec's code passes over the true word.
  - Skip-gram: a word's v meets its neighbours' u, as in the paper; in the code a neighbour's v meets the u of
    the word, for which reach and negatives were drawn (the same pairs on average).
  - A word is kept with probability sqrt(t / f), the formula of the paper; the code keeps it with
    sqrt(t / f) + t / f. By default t is 1e-4, between the paper's 1e-5 and the code's 1e-3 (for smaller texts
    than the paper's).
  - Negative sampling alone: the hierarchical softmax of both papers and the phrases of the second are left
    out (one loss serves both models).
  - The logistic function is exact; the code reads it from a table of 1,000 values between -6 and 6.
  - CBOW: the gradient of the mean reaches each neighbour divided by their number; word2vec's code adds it to
    each of them undivided.
  - Windows end with a document of a row; word2vec's end with a line or 1,000 words. There is no smallest
    count of a word: the vocabulary is the tokenizer's, of pieces where it has them.
  - Vectors start from a normal distribution with the variance of word2vec's uniform one.

References:
  Mikolov et al. 2013a, "Efficient estimation of word representations in vector space", section 3 (both
  models, and windows of random reach); Mikolov et al. 2013b, "Distributed representations of words and
  phrases and their compositionality", sections 2.2 and 2.3 (negative sampling, subsampling of frequent
  words); Ji et al. 2016, "Parallelizing word2vec in shared and distributed memory", section 3.

    batch   rows                   near    2 window: positions before and after a word
    length  tokens of a row        count   negatives of a word
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxssl import losses
from jaxssl.errors import check_above, check_at_least, check_choice, checked
from jaxssl.models.layers.packing import segments_of
from jaxssl.models.pretraining.word_vectors import WordVectorModel
from jaxssl.objectives.batches.batch import Ratio, Text, Vocabulary, share_evenly
from jaxssl.objectives.contract import Objective
from jaxssl.objectives.corruption.positions import read_at


class Examples(NamedTuple):
    """The words that subsampling has kept, and what each is compared with."""

    tokens: Int[Array, "batch length"]
    """Rows with the kept words moved to their start, in order."""
    near: Float[Array, "batch length near"]
    """Weights of the pairs of a word and a neighbour; they add up to one over the global batch."""
    negatives: Int[Array, "batch length count"]
    """Negatives of each word."""
    total: Float[Array, " batch"]
    """Number of pairs of the global batch, the same in every row."""
    words: Float[Array, "batch length"]
    """Weights of the words with a neighbour; they add up to one over the global batch."""
    total_words: Float[Array, " batch"]
    """Number of words with a neighbour in the global batch, the same in every row."""
    kept: Float[Array, " batch"]
    """Number of words of the row that subsampling has kept."""
    read: Float[Array, " batch"]
    """Number of words of the row before subsampling."""


@dataclass(frozen=True)
@checked
class WordVectors(Objective):
    """Trains skip-gram or CBOW with negative sampling (Mikolov et al. 2013)."""

    corrupts_rows_apart: ClassVar[bool] = True
    """Whether `corrupt` takes every row by itself."""

    counts_tokens: ClassVar[bool] = True
    """Subsampling and negatives need the tokens' frequency."""

    width: int = 100
    """Width of a word vector."""
    model: Literal["skip_gram", "cbow"] = "skip_gram"
    """Whether neighbours are predicted from a word, or a word from the mean of its neighbours."""
    window: int = 5
    """Largest distance of a neighbour in words; each word draws its own reach from 1 to `window`."""
    negatives: int = 5
    """Random words that each word is compared with."""
    power: float = 0.75
    """Power of the frequency with which negatives are drawn."""
    subsample: float = 1e-4
    """A word more frequent than this is kept with probability sqrt(subsample / frequency); 1 keeps all."""

    def __post_init__(self) -> None:
        check_choice(self, "model", ("skip_gram", "cbow"))
        check_at_least(self, 1, "width", "window", "negatives")
        check_above(self, 0, "subsample")
        check_at_least(self, 0, "power")

    @property
    def offsets(self) -> tuple[int, ...]:
        """Distances of the neighbours of a word: -window, …, -1, 1, …, window."""
        return tuple(o for o in range(-self.window, self.window + 1) if o)

    def init(self, key: Array, spec: Any) -> WordVectorModel:
        """Makes two tables `[vocab, width]` for the vocabulary of `spec`, with parameters drawn by `key`."""
        return WordVectorModel(key, self.width, spec.vocab_size)

    def corrupt(self, batch: Text, key: Array) -> Examples:
        """Drops frequent words, draws reaches and negatives, and normalises weights over the global batch.

        Args:
          batch: Rows as they were read, tokens `[batch, length]`.
          key: Random key.
        """
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
        """Computes the weighted sum of the losses of these pairs, or words.

        Args:
          model: The two tables.
          state: Returned as it is.
          examples: Words with their neighbours and negatives, `[batch, length]`.
          key: Unused: there is no dropout.

        Returns:
          The loss in nats, a scalar, and (the state, metrics by name).
        """
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
        """Multiplies all words of a row with all others in one matrix product, of which pairs are a band."""
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
        """Draws tokens with probabilities proportional to frequency^power."""
        shares = vocabulary.frequency
        below = jnp.cumsum(jnp.where(shares > 0, jnp.power(shares, self.power), 0.0))  # 0^0 is 1
        drawn = jnp.searchsorted(below, jax.random.uniform(key, shape) * below[-1], side="right")
        return jnp.minimum(drawn, below.shape[0] - 1).astype(jnp.int32)


def _shift(rows: Array, offset: int) -> Array:
    """Returns at every position what stands `offset` positions further on; zeros beyond the ends."""
    length = rows.shape[1]
    before, behind = max(-offset, 0), max(offset, 0)
    padded = jnp.pad(rows, ((0, 0), (before, behind), *[(0, 0)] * (rows.ndim - 2)))
    return padded[:, behind : behind + length]


def _read_band(
    products: Float[Array, "batch length length"], offsets: tuple[int, ...]
) -> Float[Array, "batch length near"]:
    """Returns at every position the columns `offsets` further on; the first or last beyond the ends."""
    length = products.shape[1]
    columns = jnp.arange(length)[:, None] + jnp.array(offsets)[None]
    columns = jnp.clip(columns, 0, length - 1)[None]
    return jnp.take_along_axis(products, columns, axis=2)
