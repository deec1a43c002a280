"""Whether an objective can learn one batch by heart: its loss falls to nearly nothing."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxssl.data.images import ImageSpec
from jaxssl.objectives.batches.batch import Images, Text, Vocabulary
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.step import create_state, make_step
from tests.objectives.tiny_views import tiny_captions
from tests.tiny import tiny_images, tiny_rows


def batch_of(spec: Any, seed: int = 1) -> Text | Images:
    """A batch of tiny rows, or of tiny images with their captions."""
    if not isinstance(spec, ImageSpec):
        rows = jnp.asarray(tiny_rows(seed, spec.batch, spec.length, spec.vocab_size))
        return Text(rows, Vocabulary.of(spec, counted=True))
    captions = None
    if spec.captions is not None:
        tokens = jnp.asarray(tiny_captions(seed, spec.batch))
        captions = Text(tokens, Vocabulary.of(spec.captions))
    return Images(jnp.asarray(tiny_images(seed, spec.batch)), captions)


def losses_of_one_batch(
    objective: Any,
    spec: Any,
    steps: int,
    *,
    rate: float = 1e-2,
    seed: int = 1,
    key_of: Callable[[int], Any] = jax.random.key,
) -> list[float]:
    """The loss of every step; examples are drawn once, the key of dropout is `key_of(step)`."""
    model = objective.init(jax.random.key(0), spec)
    state = objective.init_state(model)
    examples = objective.corrupt(batch_of(spec, seed), jax.random.key(1))
    optimizer = optax.adam(rate)

    @jax.jit
    def learn(model: Any, moments: Any, key: Any) -> Any:
        gradients, (_, metrics) = jax.grad(objective.loss, has_aux=True)(
            model, state, examples, key
        )
        updates, moments = optimizer.update(gradients, moments)
        return optax.apply_updates(model, updates), moments, metrics["loss"]

    moments, losses = optimizer.init(model), []
    for step in range(steps):
        model, moments, loss = learn(model, moments, key_of(step))
        losses.append(loss.number())
    return losses


def check_learned(objective: Any, spec: Any, steps: int, first: float, last: float, **how) -> None:
    """The first loss is above `first`, the mean of the last ten below `last`."""
    losses = losses_of_one_batch(objective, spec, steps, **how)
    assert losses[0] > first
    assert np.mean(losses[-10:]) < last


def check_text_is_learned(objective: Any, spec: Any) -> None:
    """The corruption is drawn anew at every step: what is learned is the text, by heart."""
    mesh = Mesh().make(jax.devices()[:1])
    run = SimpleNamespace(objective=objective, steps=100, seed=0, average=None, microbatches=1)
    run.compiler_options, run.gradient_sums = None, "computed"
    optimizer = optax.adam(5e-3)
    state = create_state(run, optimizer, spec, mesh)
    step = make_step(run, optimizer, spec, mesh)
    rows, losses = jnp.asarray(tiny_rows(batch=8)), []
    for _ in range(200):
        state, metrics = step(state, {"tokens": rows})
        losses.append(metrics["loss"].number())
    assert losses[0] > 3.5
    assert np.mean(losses[-10:]) < 1.0
