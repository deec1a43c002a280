from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from jaxssl import losses
from jaxssl.losses import token_sampling


def example(tokens, vocab):
    random = np.random.default_rng(vocab)
    shapes = ((tokens, 4), (vocab, 4), (vocab,))
    return [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]


@pytest.mark.parametrize("sizes", [(1, 1), (9, 23), (64, 100)])
def test_draws_what_the_dense_sampler_draws(sizes, key):
    tokens, vocab = sizes
    hidden, kernel, bias = example(tokens, vocab)
    dense = jax.random.categorical(key, (hidden @ kernel.T + bias[None]) / 0.8)
    for block in (1, 7, 4096):
        if block >= vocab // 20:
            draw = partial(losses.sample_tokens, bias=bias, temperature=0.8, block_size=block)
            np.testing.assert_array_equal(jax.jit(draw)(key, hidden, kernel), dense)


def test_draws_by_probability(key):
    kernel = jnp.log(jnp.array([[0.5], [0.3], [0.2]]))
    drawn = losses.sample_tokens(key, jnp.ones((4000, 1)), kernel, block_size=2)
    np.testing.assert_allclose(np.bincount(drawn) / 4000, [0.5, 0.3, 0.2], atol=0.03)


@pytest.mark.parametrize("check_vma", [True, False])
def test_cut_over_devices_draws_the_same(check_vma, key):
    """Rows over `data`, the vocabulary over `tensor`; blocks that do not divide a device's part."""
    hidden, kernel, bias = example(12, 20)
    mesh = jax.make_mesh((2, 4), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)
    data, tensor, whole = (PartitionSpec(*a) for a in (["data"], ["tensor"], []))

    def draw(key, hidden, kernel, bias):
        options = {"axis_name": "data", "vocab_axis_name": "tensor", "block_size": 3}
        return losses.sample_tokens(key, hidden, kernel, bias=bias, temperature=0.8, **options)

    mapped = jax.jit(
        jax.shard_map(
            draw,
            mesh=mesh,
            in_specs=(whole, data, tensor, tensor),
            out_specs=data,
            check_vma=check_vma,
        )
    )
    dense = jax.random.categorical(key, (hidden @ kernel.T + bias[None]) / 0.8)
    np.testing.assert_array_equal(mapped(key, hidden, kernel, bias), dense)
    assert "all-gather" not in mapped.lower(key, hidden, kernel, bias).compile().as_text()


def test_ties_across_devices_go_to_the_first(monkeypatch):
    monkeypatch.setattr(token_sampling, "gumbel", lambda _, index: jnp.zeros(index[0].shape))
    draw = partial(losses.sample_tokens, vocab_axis_name="tensor", block_size=2)
    kernel = jnp.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0]).reshape(2, 3, 1)
    drawn = jax.vmap(draw, in_axes=(None, None, 0), axis_name="tensor")(
        jax.random.key(0), jnp.ones((1, 1)), kernel
    )
    np.testing.assert_array_equal(drawn, [[1], [1]])


def test_nothing_is_differentiated(key):
    hidden, kernel, _ = example(3, 5)
    gradient = jax.grad(lambda h: 1.0 * losses.sample_tokens(key, h, kernel).sum())(hidden)
    assert (gradient == 0).all()


def test_a_vocabulary_of_256k(key):
    hidden, kernel, bias = (a.astype(jnp.bfloat16) for a in example(4, 2**18))
    dense = jnp.einsum("td,vd->tv", hidden, kernel, preferred_element_type=jnp.float32) + bias[None]
    drawn = losses.sample_tokens(key, hidden, kernel, bias=bias)
    np.testing.assert_array_equal(drawn, jax.random.categorical(key, dense))


def test_errors_name_both_shapes(key):
    hidden, kernel, _ = example(3, 5)
    with pytest.raises(ValueError, match=r"hidden \(3, 4\) and kernel \(4, 5\)"):
        losses.sample_tokens(key, hidden, kernel.T)
    with pytest.raises(ValueError, match=r"bias of shape \(4,\).*kernel \(5, 4\)"):
        losses.sample_tokens(key, hidden, kernel, bias=jnp.zeros(4))
    with pytest.raises(ValueError, match="temperature=0 must"):
        losses.sample_tokens(key, hidden, kernel, temperature=0)
    with pytest.raises(ValueError, match="block_size=0 must"):
        losses.sample_tokens(key, hidden, kernel, block_size=0)


def test_other_keys_are_refused():
    with pytest.raises(ValueError, match="threefry"):
        losses.sample_tokens(jax.random.key(0, impl="rbg"), jnp.ones((2, 3)), jnp.ones((4, 3)))
