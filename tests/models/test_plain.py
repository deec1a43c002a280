"""Models as nested dicts of arrays, and what is said when they are another model's."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.models.plain import from_dict, to_dict
from tests.models.small_models import RECIPES, VOCABULARY, lively


@pytest.mark.parametrize("recipe", RECIPES)
def test_there_and_back(recipe):
    model = lively(RECIPES[recipe])
    nested = jax.tree.map(np.asarray, to_dict(model))
    assert nested["layers"]["attention"]["query"]["kernel"].shape[0] == model.config.depth
    template = jax.eval_shape(lambda k: model.config.make(k, VOCABULARY), jax.random.key(0))
    back = from_dict(template, nested)
    assert jax.tree.structure(back) == jax.tree.structure(model)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(model), strict=True):
        assert isinstance(a, jax.Array)
        np.testing.assert_array_equal(a, b)


def test_dropout_may_change_between_saving_and_loading():
    saved = lively(RECIPES["bert"])
    calm = from_dict(lively(replace(RECIPES["bert"], dropout=0.0), seed=1), to_dict(saved))
    assert calm.config.dropout == 0
    np.testing.assert_array_equal(calm.tokens.embedding[...], saved.tokens.embedding[...])


def test_narrow_types_are_widened_and_wide_ones_refused():
    model = lively(RECIPES["gpt2"])
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), to_dict(model))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(from_dict(model, narrow)))
    wide = jax.tree.map(lambda x: np.asarray(x, np.float64), to_dict(model))
    with pytest.raises(InputError, match=r"float64\[16\] where the model has float32\[16\]"):
        from_dict(model, wide)


def test_every_mismatch_is_listed():
    model = lively(RECIPES["bert"])
    nested = to_dict(model)
    nested["tokens"] = {"embedding": np.zeros((30, 16), np.float32)}
    nested["head"] = {"kernel": np.zeros(3, np.float32)}
    del nested["types"]
    with pytest.raises(InputError) as error:
        from_dict(model, nested)
    for words in (
        "types/embedding: missing",
        "head/kernel: not a parameter of the model",
        "tokens/embedding: float32[30, 16] where the model has float32[23, 16]",
    ):
        assert words in str(error.value)
