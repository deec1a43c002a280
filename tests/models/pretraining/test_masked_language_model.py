"""The heads of masked language modelling, by hand."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.layers.dense import ACTIVATIONS
from jaxssl.models.plain import to_dict
from jaxssl.models.pretraining.masked_language_model import MaskedLanguageModel, head_activation
from jaxssl.models.recipes import bert
from jaxssl.sharding.layout import axes_of
from tests.models import reference
from tests.models.small_models import filled

CONFIG = bert(1, 16, 2, embedding_width=8, max_length=8)


def make(config=CONFIG, **heads):
    heads = {"with_pairs": True} | heads
    return filled(lambda key: MaskedLanguageModel(key, config, 23, **heads))


@pytest.mark.parametrize("tied", [True, False])
def test_the_token_head_meets_the_output_embedding(tied):
    model = make(replace(CONFIG, tied_head=tied))
    outputs = 8 if tied else 16
    assert model.output_embedding().shape == (23, outputs)
    states = np.random.default_rng(0).normal(size=(3, 16))
    w = reference._float64(to_dict(model))
    slow = reference.gelu(reference.linear(w["transform"], states))
    slow = reference.norm(CONFIG, w["transform_norm"], slow)
    found = model.token_head(jnp.asarray(states, jnp.float32))
    assert found.shape == (3, outputs)
    np.testing.assert_allclose(found, slow, atol=1e-5)
    table = w["encoder"]["tokens"]["embedding"] if tied else w["output_kernel"]
    np.testing.assert_array_equal(model.output_embedding(), np.float32(table))
    assert None not in axes_of(model).values()


def test_an_untied_head_leaves_the_encoder_as_it_was(key):
    tied, own = (
        MaskedLanguageModel(key, replace(CONFIG, tied_head=tied), 23, with_pairs=True)
        for tied in (True, False)
    )
    for part in ("encoder", "pooler", "pair_classifier"):
        a, b = (jax.tree.leaves(to_dict(model)[part]) for model in (tied, own))
        assert all(bool((x == y).all()) for x, y in zip(a, b, strict=True))


def test_the_pair_head_by_hand():
    model = make()
    first = np.random.default_rng(0).normal(size=(3, 16))
    w = reference._float64(to_dict(model))
    slow = reference.linear(w["pair_classifier"], np.tanh(reference.linear(w["pooler"], first)))
    np.testing.assert_allclose(model.pair_head(jnp.asarray(first, jnp.float32)), slow, atol=1e-5)


def test_heads_that_were_not_asked_for():
    assert make(with_pairs=False).pooler is None
    pooled = make(with_pairs=False, with_pooler=True)
    assert pooled.pooler is not None
    with pytest.raises(ValueError, match="with_pairs=True"):
        pooled.pair_head(jnp.zeros((1, 16)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_head_has_the_networks_activation_or_gelu(activation):
    is_gated = activation in ("swiglu", "geglu", "geglu_tanh")
    expected = ACTIVATIONS["gelu" if is_gated else activation][0]
    assert head_activation(replace(CONFIG, activation=activation)) is expected
