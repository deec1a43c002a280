"""word2vec's two tables as they start."""

import numpy as np

from jaxssl.models.pretraining.word_vectors import WordVectorModel
from jaxssl.sharding.layout import axes_of


def test_words_start_with_word2vecs_variance_and_contexts_at_zero(key):
    model = WordVectorModel(key, 50, 400)
    assert model.words.embedding.shape == model.contexts.embedding.shape == (400, 50)
    uniform = np.random.default_rng(0).uniform(-0.5 / 50, 0.5 / 50, size=100_000)
    np.testing.assert_allclose(model.words.embedding[...].std(), uniform.std(), rtol=0.03)
    assert not np.asarray(model.contexts.embedding[...]).any()
    assert None not in axes_of(model).values()
