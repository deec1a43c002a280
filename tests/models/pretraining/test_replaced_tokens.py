"""The generator's shape, and the embeddings that it shares with the discriminator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.plain import to_dict
from jaxssl.models.pretraining.replaced_tokens import ReplacedTokenModel, generator_of
from jaxssl.models.recipes import bert, modern
from jaxssl.sharding.layout import axes_of
from tests.models import reference
from tests.models.small_models import filled


def test_a_generator_has_a_share_of_the_heads_and_widths():
    base = generator_of(bert(12, 768, 12), 1 / 3)
    assert (base.depth, base.width, base.heads, base.inner) == (12, 256, 4, 1024)
    assert (base.embedding_width, base.head_dim, base.kv_heads) == (768, 64, None)
    grouped = generator_of(modern(2, 64, 8, kv_heads=4), 0.25)
    assert (grouped.heads, grouped.kv_heads) == (2, 2)
    assert generator_of(bert(2, 64, 4), 0.01).heads == 1


@pytest.mark.parametrize(("size", "width", "heads"), [(1.0, 100, 4), (0.5, 56, 2), (0.25, 32, 1)])
def test_heads_of_a_width_of_their_own_stay_as_wide(size, width, heads):
    """The width is a share, rounded up to 8 and at most the discriminator's."""
    generator = generator_of(bert(2, 100, 4, head_width=32), size)
    assert (generator.width, generator.heads, generator.head_dim) == (width, heads, 32)


@pytest.mark.parametrize("tied", [True, False])
def test_the_generator_reads_the_discriminators_tables(tied):
    discriminator = bert(1, 16, 4, max_length=8, tied_head=tied)
    generator = generator_of(discriminator, 0.5)
    model = filled(lambda key: ReplacedTokenModel(key, discriminator, generator, 23))
    assert model.generator.encoder.tokens is None
    whole = model.whole_generator()
    assert model.generator.encoder.tokens is None  # the model itself is as it was
    tokens = jnp.ones((1, 8), int)
    states = whole.encoder(tokens)
    assert states.shape == (1, 8, 8)
    logits = whole.token_head(states) @ whole.output_embedding().T
    assert logits.shape == (1, 8, 23)
    table = model.discriminator.tokens.embedding[...]
    shared = whole.output_embedding().shape == table.shape and bool(
        (whole.output_embedding() == table).all()
    )
    assert shared == tied
    assert None not in axes_of(model).values()


def test_the_replaced_head_by_hand():
    config = bert(1, 16, 4, max_length=8)
    model = filled(lambda key: ReplacedTokenModel(key, config, generator_of(config, 0.5), 23))
    states = jax.random.normal(jax.random.key(0), (2, 3, 16))
    w = reference._float64(to_dict(model))
    inner = reference.gelu(reference.linear(w["transform"], np.asarray(states)))
    slow = reference.linear(w["classifier"], inner)[..., 0]
    np.testing.assert_allclose(model.replaced_head(states), slow, atol=1e-5)
