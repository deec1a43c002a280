"""All losses in one program, whole and accumulated, each with parameters of its own.

So gradients do not mix, and a topology costs one program and not eighteen.
"""

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl import losses
from tests.losses import cases
from tests.losses.topologies import fast_to_compile

TOLERANCE = 1e-5  # relative, norm by norm


def one_after_another(table: Any, params: Any, batch: Any, **options: Any) -> jax.Array:
    """The sum of all losses. Each waits for the one before, in both directions.

    XLA runs what is independent at once, and on few cores the collectives of several losses can then
    take all threads while each waits for other devices' threads.
    """
    total = jnp.zeros(())
    for name, loss in table.items():
        waiting = batch | {"first": batch["first"] + 0 * total}
        total += loss(params[name], waiting, **options)
    return total


def all_losses(params: Any, batch: Any, axis_name: str | None = None) -> jax.Array:
    return one_after_another(cases.ALL, params, batch, axis_name=axis_name)


def token_losses(params: Any, batch: Any) -> jax.Array:
    return sum(loss(params[name], batch) for name, loss in cases.TOKEN_LOSSES.items())


def accumulated(params: Any, batch: Any, axis_name: str | None = None) -> jax.Array:
    """Four microbatches, added: weights are divided by their global sum first."""

    def share(weights: jax.Array) -> jax.Array:
        total = weights.sum()
        return weights / (jax.lax.psum(total, axis_name) if axis_name else total)

    names = ("weights", "other_weights")
    batch = batch | {name: share(batch[name]) for name in names}

    def add(total: jax.Array, part: Any) -> tuple[jax.Array, None]:
        options = {"axis_name": axis_name, "normalize": False}
        return total + one_after_another(cases.TOKEN_LOSSES, params, part, **options), None

    parts = 4 if len(batch["weights"]) % 4 == 0 else 1
    cut = jax.tree.map(lambda a: a.reshape(parts, -1, *a.shape[1:]), batch)
    return jax.lax.scan(add, jnp.zeros(()), cut)[0]


def parameters(names: Any) -> Any:
    return {name: cases.make_params() for name in names}


@lru_cache
def on_one_device(function: Any, uneven: bool) -> Any:
    names = {token_losses: cases.TOKEN_LOSSES, batch_losses: cases.BATCH_LOSSES}
    params = parameters(names.get(function, cases.ALL))
    program = fast_to_compile(jax.value_and_grad(function))
    return params, jax.tree.map(np.asarray, program(params, cases.make_batch(uneven)))


def cached(params: Any, batch: Any, axis_name: str | None = None) -> Any:
    """Contrastive losses accumulated: the value and gradient of two microbatches a device."""

    def embed(params: Any, part: Any, _: Any) -> Any:
        return {
            name: (part["first"] @ p["matrix"], part["second"] @ p["matrix"], part["weights"])
            for name, p in params.items()
        }

    def contrast(params: Any, rows: Any) -> jax.Array:
        return sum(
            loss.of_embeddings(params[name], rows[name], axis_name)
            for name, loss in cases.BATCH_LOSSES.items()
        )

    value, gradient = losses.cached_gradients(embed, contrast, params, batch, microbatches=2)
    return value, jax.lax.pmean(gradient, axis_name) if axis_name else gradient


def batch_losses(params: Any, batch: Any) -> jax.Array:
    return sum(loss(params[name], batch) for name, loss in cases.BATCH_LOSSES.items())
