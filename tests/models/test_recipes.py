"""Published sizes, and fields that are changed by keyword."""

import jax
import pytest

from jaxssl.errors import InputError
from jaxssl.models import recipes
from jaxssl.models.recipes import bert, gpt2, modern, vit

ALL = [
    getattr(recipes, name) for name in ("bert", "gpt2", "modern", "modernbert", "t5", "bart", "vit")
]


def test_number_of_parameters():
    config, v = bert(12, 768, 12), 30522
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    assert (
        size_of(config, v) == (v + 512 + 2 + 2) * 768 + 12 * layer == 108_891_648
    )  # published 110M
    assert size_of(gpt2(), 50257) == 124_439_808  # the released GPT-2 small
    w, kv, m = 64, 32, 96
    layer = 2 * w * w + 2 * w * kv + 3 * w * m + 2 * w
    assert size_of(modern(2, w, 4, kv_heads=2, mlp=m), 10) == 10 * w + 2 * layer + w


def size_of(config, vocab_size):
    shapes = jax.eval_shape(lambda k: config.make(k, vocab_size), jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("recipe", ALL)
def test_any_field_may_be_changed(recipe):
    config = recipe(3, 60, 5, max_length=7, norm_epsilon=0.5)
    assert (config.depth, config.width, config.heads) == (3, 60, 5)
    assert (config.max_length, config.norm_epsilon) == (7, 0.5)
    with pytest.raises(TypeError, match="lenght"):
        recipe(lenght=7)


def test_fields_are_checked_together_with_the_changes():
    """Three heads do not divide a width of 64, but with a width of their own they need not."""
    assert bert(2, 64, 3, head_width=16).head_dim == 16
    assert vit(2, 64, 3, head_width=16).heads == 3
    with pytest.raises(InputError, match="heads=3 does not divide width=64"):
        bert(2, 64, 3)
