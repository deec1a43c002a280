"""The kernel of an untied head: its size, and a key that no other parameter has."""

import jax
import numpy as np
import pytest

from jaxssl.models.pretraining.vocabulary_head import OUTPUT_KEY, make_output_kernel
from jaxssl.models.recipes import bert


def test_a_tied_head_has_none(key):
    assert make_output_kernel(key, bert(), 50) is None


@pytest.mark.slow
def test_kernel(key):
    kernel = make_output_kernel(key, bert(1, 64, 2, tied_head=False, initializer_range=0.5), 500)
    assert kernel.shape == (500, 64)
    np.testing.assert_allclose(kernel[...].std(), 0.5, rtol=0.02)


def test_its_key_is_none_of_a_split(key):
    """The fifth key of a split of five or more is fold_in(key, 4): a small number would be used twice."""
    split = jax.random.key_data(jax.random.split(key, 8)).tolist()
    small, own = (jax.random.fold_in(key, number) for number in (4, OUTPUT_KEY))
    assert split[4] == jax.random.key_data(small).tolist()
    assert jax.random.key_data(own).tolist() not in split
