"""Started by `test_annotations.py`: traces every loss with all annotations of `jaxssl.losses` checked."""

import sys

from jaxtyping import install_import_hook

with install_import_hook("jaxssl.losses", "beartype.beartype"):
    import jaxssl.losses

import jax
import jax.numpy as jnp

from jaxssl import losses
from tests.losses import cases, test_safety, topologies
from tests.losses.sums import all_losses, cached, parameters


def trace_all() -> None:
    """No program is compiled: shapes and types are all that annotations speak of."""
    params, batch = parameters(cases.ALL), cases.make_batch(uneven=True)
    jax.eval_shape(jax.value_and_grad(all_losses), params, batch)
    inside = topologies.value_and_mean_gradient(
        lambda p, b: all_losses(p, b, axis_name=topologies.AXIS)
    )
    mapped = jax.vmap(inside, axis_name=topologies.AXIS, in_axes=(None, 0))
    jax.eval_shape(mapped, params, topologies.split(batch, 4))
    jax.eval_shape(cached, parameters(cases.BATCH_LOSSES), batch)
    for dtype in (jnp.bfloat16, jnp.float16):
        jax.eval_shape(test_safety.program, *test_safety.example(5, dtype))
    hidden = jnp.ones((3, 4), jnp.bfloat16)
    jax.eval_shape(losses.sample_tokens, jax.random.key(0), hidden, jnp.ones((5, 4)))
    arrays = hidden, jnp.ones((5, 4)), jnp.zeros(3, int), jnp.ones(3)
    keys = jax.random.split(jax.random.key(0), 3)
    jax.eval_shape(losses.linear_cross_entropy_with_samples, keys, *arrays)
    logits, tokens = jnp.ones((2, 3, 5)), jnp.zeros((2, 3), int)
    jax.eval_shape(losses.causal_lm_per_example, logits, tokens)


def refuses() -> bool:
    """Whether the checks are on at all: targets that are no integers."""
    try:
        jax.eval_shape(losses.masked_lm, jnp.ones((2, 5)), jnp.ones(2), jnp.ones(2))
    except Exception as error:
        return type(error).__name__ == "TypeCheckError"
    return False


if __name__ == "__main__":
    assert "jaxssl.losses" in sys.modules
    assert jaxssl.losses is losses
    trace_all()
    print("refused" if refuses() else "accepted")
