from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl import losses
from jaxssl.losses.blockwise import vocabulary_gradients
from jaxssl.losses.blockwise.vocabulary_gradients import Sums, block_gradients
from jaxssl.losses.blockwise.vocabulary_scores import HeadOptions
from tests.losses.blockwise.heads import dense_loss, example

OPTIONS = [{}, {"label_smoothing": 0.2}, {"z_loss": 0.1}, {"label_smoothing": 0.2, "z_loss": 0.1}]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_are_those_of_the_formulas(options):
    part, kernel, bias = example()
    start = Sums(jnp.float32(1.0), jnp.float32(2.0), jnp.ones_like(kernel), jnp.ones_like(bias))
    sums, (to_hidden, _, drawn) = block_gradients(
        HeadOptions(6, **options), start, part, kernel, bias
    )
    loss = partial(dense_loss, part=part, **options)
    value, gradients = jax.value_and_grad(loss, (0, 1, 2))(part.hidden, kernel, bias)
    np.testing.assert_allclose(sums.loss, 1 + value, rtol=1e-5)
    np.testing.assert_allclose(to_hidden, gradients[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sums.to_kernel, 1 + gradients[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(sums.to_bias, 1 + gradients[2], rtol=1e-4, atol=1e-6)
    logits = part.hidden @ kernel.T + bias[None]
    right = (logits.argmax(axis=1) == part.targets) * part.weights
    np.testing.assert_allclose(sums.right, 2 + right.sum(), rtol=1e-6)
    assert drawn is None


def test_small_weights_do_not_underflow_in_float16():
    """The weights of a large global batch are below the smallest float16."""
    part, kernel, _ = example()
    narrow = part._replace(hidden=part.hidden.astype(jnp.float16))
    start = Sums(jnp.float32(0), jnp.float32(0), jnp.zeros_like(kernel))

    def to_kernel(weights):
        part = narrow._replace(weights=weights)
        return block_gradients(HeadOptions(6), start, part, kernel.astype(jnp.float16))[0].to_kernel

    whole, small = to_kernel(part.weights), to_kernel(part.weights * 2.0**-40)
    assert jnp.abs(whole).max() > 0.1
    np.testing.assert_allclose(small * 2.0**40, whole, rtol=1e-6)


def test_slices_are_as_many_as_their_bytes_ask_for():
    numbers_of_a_slice = vocabulary_gradients.SLICE_BYTES // 4
    assert vocabulary_gradients.slice_count(numbers_of_a_slice) == 1
    assert vocabulary_gradients.slice_count(numbers_of_a_slice + 1) == 2
    assert vocabulary_gradients.slice_count(100 * numbers_of_a_slice) == 8


@pytest.mark.parametrize("vocab", [12, 11])
def test_kernel_gradient_in_slices_of_the_vocabulary(monkeypatch, vocab):
    """For a large kernel in half precision; 11 rows do not divide into 3 slices."""
    part, kernel, bias = example(tokens=13, vocab=vocab)
    hidden, kernel, bias = (a.astype(jnp.bfloat16) for a in (part.hidden, kernel, bias))

    def loss(hidden, kernel):
        rest = part.targets, part.weights.astype(jnp.bfloat16)
        return losses.linear_cross_entropy(hidden, kernel, *rest, bias=bias, block_size=5)

    def gradient_and_loops():
        gradient = jax.grad(lambda *arrays: loss(*arrays), (0, 1))
        loops = str(jax.make_jaxpr(gradient)(hidden, kernel)).count("scan[")
        return gradient(hidden, kernel), loops

    whole, loops_of_whole = gradient_and_loops()
    monkeypatch.setattr(vocabulary_gradients, "SLICE_BYTES", 4 * 4 * 4)  # of 4 rows
    sliced, loops_of_sliced = gradient_and_loops()
    assert loops_of_sliced > loops_of_whole
    for ours, expected in zip(sliced, whole, strict=True):
        np.testing.assert_array_equal(ours, expected)
