"""Packed documents never see one another: exactly, in states and in gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.models.layers.packing import positions_of, segments_of
from jaxssl.models.plain import from_dict, to_dict
from tests.models.small_models import BEGIN, PAD, RECIPES, SEGMENTS, TOKENS, lively, states_of

ALL = pytest.mark.parametrize("recipe", RECIPES)


def test_segments_and_positions():
    tokens = jnp.array([[2, 5, 2, 2, 7, 8, 0, 0], [9, 9, 2, 5, 6, 7, 8, 9], [0] * 8])
    segments = segments_of(tokens, BEGIN, PAD)
    assert segments.tolist() == [
        [1, 1, 2, 3, 3, 3, 0, 0],
        [0, 0, 1, 1, 1, 1, 1, 1],
        [0] * 8,
    ]
    assert positions_of(segments).tolist() == [
        [0, 1, 0, 0, 1, 2, 0, 1],
        [0, 1, 0, 1, 2, 3, 4, 5],
        list(range(8)),
    ]
    assert segments_of(jnp.asarray(TOKENS), BEGIN, PAD).tolist() == SEGMENTS.tolist()


@ALL
def test_a_document_has_the_same_states_packed_and_alone(recipe):
    model = lively(RECIPES[recipe])
    documents = [np.flatnonzero(SEGMENTS[row] == segment) for row in (0, 1) for segment in (1, 2)]
    tokens, segments = np.zeros((4, 12), int), np.zeros((4, 12), int)
    for i, places in enumerate(documents):
        tokens[i, : len(places)] = TOKENS[i // 2, places]
        segments[i, : len(places)] = 1
    packed, alone = states_of(model), states_of(model, tokens, segments)
    for i, places in enumerate(documents):
        np.testing.assert_allclose(packed[i // 2, places], alone[i, : len(places)], atol=1e-5)


@ALL
def test_jacobian_of_one_document_by_the_other_is_exactly_zero(recipe, key):
    # One table row for every place, so that the table's gradient is by place.
    model, tokens = lively(RECIPES[recipe], vocabulary=12), np.arange(12)[None]
    first, second, padding = (np.flatnonzero(SEGMENTS[0] == i) for i in (1, 2, 0))

    @jax.jit
    def gradient(model, cotangent):
        """Random numbers times the Jacobian: zero where the Jacobian is, else not."""

        def states(table):
            changed = from_dict(model, to_dict(model) | {"tokens": {"embedding": table}})
            return states_of(changed, tokens, SEGMENTS[:1], key=key)

        return jax.vjp(states, model.tokens.embedding[...])[1](cotangent)[0]

    numbers = np.random.default_rng(0).normal(size=(1, 12, model.config.width))
    for mine, theirs in ((first, second), (second, first)):
        cotangent = np.zeros_like(numbers, np.float32)
        cotangent[:, mine] = numbers[:, mine]
        by_place = np.asarray(gradient(model, cotangent))
        assert np.abs(by_place[mine]).max(axis=-1).min() > 0
        assert np.abs(by_place[theirs]).max() == 0
        assert np.abs(by_place[padding]).max() == 0


def test_what_comes_later_does_not_matter_to_a_causal_model():
    model = lively(RECIPES["gpt2"])
    segments = np.ones_like(TOKENS)
    before = states_of(model, TOKENS, segments)
    changed = TOKENS.copy()
    changed[:, 7:] = 4
    after = states_of(model, changed, segments)
    np.testing.assert_array_equal(before[:, :7], after[:, :7])
    assert np.abs(before[:, 7:] - after[:, 7:]).min(axis=-1).max() > 0
