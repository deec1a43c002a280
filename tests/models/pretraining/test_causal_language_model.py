"""A decoder whose vocabulary head is its table, or a kernel of its own."""

from dataclasses import replace

import jax
import numpy as np

from jaxssl.models.plain import to_dict
from jaxssl.models.pretraining.causal_language_model import CausalLanguageModel
from jaxssl.models.recipes import gpt2
from jaxssl.sharding.layout import axes_of

CONFIG = gpt2(1, 16, 2, max_length=8)


def test_a_tied_head_is_the_table(key):
    model = CausalLanguageModel(key, CONFIG, 23)
    np.testing.assert_array_equal(model.output_embedding(), model.decoder.tokens.embedding[...])
    assert set(to_dict(model)) == {"decoder"}


def test_an_untied_head_is_a_kernel_and_all_else_as_before(key):
    tied, own = (
        CausalLanguageModel(key, replace(CONFIG, tied_head=tied), 23) for tied in (True, False)
    )
    parameters = to_dict(own)
    kernel = parameters.pop("output_kernel")
    np.testing.assert_array_equal(own.output_embedding(), kernel)
    assert kernel.shape == (23, 16)
    assert 0.01 < float(kernel.std()) < 0.03
    for a, b in zip(jax.tree.leaves(parameters), jax.tree.leaves(to_dict(tied)), strict=True):
        np.testing.assert_array_equal(a, b)
    drawn = np.stack([kernel, own.decoder.tokens.embedding[...]]).reshape(2, -1)
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.3  # no key is used twice
    assert axes_of(own)["output_kernel"] == ("vocab", "embed")
    assert None not in axes_of(own).values()
