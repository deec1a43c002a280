"""Tokens drawn in the pass of the loss: those of JAX's own sampler, by each token's key alone."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxssl import losses

TOKENS, DIM, VOCAB = 24, 4, 20
OPTIONS = {"temperature": 0.8, "block_size": 8, "normalize": False}


def example():
    random = np.random.default_rng(0)
    shapes = ((TOKENS, DIM), (VOCAB, DIM), (VOCAB,))
    hidden, kernel, bias = (jnp.asarray(random.normal(size=s), jnp.float32) for s in shapes)
    weights = jnp.asarray(np.where(np.arange(TOKENS) % 5 == 1, 0, 0.1), jnp.float32)
    return hidden, kernel, jnp.asarray(random.integers(0, VOCAB, TOKENS)), weights, bias


def draws(keys, hidden, kernel, targets, weights, bias, **options):
    options = OPTIONS | options
    return losses.linear_cross_entropy_with_samples(
        keys, hidden, kernel, targets, weights, bias=bias, **options
    )


def dense(keys, hidden, kernel, bias):
    return jax.vmap(jax.random.categorical)(keys, (hidden @ kernel.T + bias[None]) / 0.8)


@pytest.mark.slow
def test_draws_by_its_key_what_jax_draws_and_gives_the_same_loss(key):
    keys = jax.random.split(key, TOKENS)
    hidden, kernel, targets, weights, bias = arrays = example()
    expected = jnp.where(weights > 0, dense(keys, hidden, kernel, bias), 0)
    program = jax.jit(partial(draws, keys))
    loss, right, drawn = program(*arrays)
    np.testing.assert_array_equal(drawn, expected)
    options = {"bias": bias, "block_size": 8, "normalize": False}
    plain = jax.jit(partial(losses.linear_cross_entropy_with_accuracy, **options))
    assert (loss, right) == plain(*arrays[:4])
    part = slice(3, 19)  # another place in the batch and another block
    _, _, again = draws(
        jax.random.key_data(keys)[part], hidden[part], kernel, targets[part], weights[part], bias
    )
    np.testing.assert_array_equal(again, expected[part])

    def differentiated(hidden):
        loss, right, drawn = draws(keys, hidden, *arrays[1:])
        return loss, (right, drawn)

    (_, (_, drawn)), gradient = jax.jit(jax.value_and_grad(differentiated, has_aux=True))(hidden)
    np.testing.assert_array_equal(drawn, expected)
    plain = jax.jit(jax.grad(partial(losses.linear_cross_entropy, **options)))
    np.testing.assert_array_equal(gradient, plain(*arrays[:4]))


def test_the_correct_token_is_never_drawn_where_it_may_not_be(key):
    keys = jax.random.split(key, TOKENS)
    hidden, kernel, _, _, bias = example()
    targets, ones = dense(keys, hidden, kernel, bias), jnp.ones(TOKENS)
    _, _, drawn = draws(keys, hidden, kernel, targets, ones, bias, disallow_correct=True)
    assert not (drawn == targets).any()
    _, _, drawn = draws(keys, hidden, kernel, targets, ones, bias)
    assert (drawn == targets).all()


@pytest.mark.parametrize("check_vma", [True, False])
def test_cut_over_devices_draws_the_same(check_vma, key):
    keys = jax.random.key_data(jax.random.split(key, TOKENS))
    arrays = example()
    mesh = jax.make_mesh((2, 4), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)
    data, tensor, whole = (PartitionSpec(*a) for a in (["data"], ["tensor"], []))
    axes = {"axis_name": "data", "vocab_axis_name": "tensor", "disallow_correct": True}

    mapped = jax.shard_map(
        partial(draws, **axes),
        mesh=mesh,
        in_specs=(data, data, tensor, data, data, tensor),
        out_specs=(whole, whole, data),
        check_vma=check_vma,
    )

    def gradient(function):
        def loss(kernel):
            value, _, drawn = function(keys, arrays[0], kernel, *arrays[2:])
            return value, drawn

        return jax.jit(jax.value_and_grad(loss, has_aux=True))(arrays[1])

    ours, expected = gradient(mapped), gradient(partial(draws, disallow_correct=True))
    np.testing.assert_array_equal(ours[0][1], expected[0][1])
    np.testing.assert_allclose(ours[1], expected[1], rtol=1e-4, atol=1e-6)


def test_errors_name_shapes(key):
    arrays = example()
    with pytest.raises(ValueError, match=r"3 keys must be as many as rows of hidden \(24, 4\)"):
        draws(jax.random.split(key, 3), *arrays)
    with pytest.raises(ValueError, match="a threefry key of 2 words"):
        draws(key, *arrays)
    with pytest.raises(ValueError, match="temperature=0 must"):
        draws(jax.random.split(key, TOKENS), *arrays, temperature=0)
