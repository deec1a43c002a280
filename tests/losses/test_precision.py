import jax
import jax.numpy as jnp

from jaxssl.losses.precision import NOTHING, softmax_type


def test_softmax_type_is_never_narrower_than_float32():
    assert softmax_type(jnp.ones(1, jnp.float16)) == jnp.float32
    assert softmax_type(jnp.ones(1, jnp.bfloat16), jnp.ones(1, jnp.float16)) == jnp.float32
    with jax.enable_x64(True):
        assert softmax_type(jnp.ones(1, jnp.float16), jnp.ones(1, jnp.float64)) == jnp.float64


def test_an_excluded_logit_adds_nothing_and_makes_no_nan():
    logits = jnp.array([0.0, NOTHING])
    assert jax.nn.logsumexp(logits) == 0
    assert jnp.float32(NOTHING) - jnp.float32(NOTHING) == 0
