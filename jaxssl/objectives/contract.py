"""What the training step asks of an objective, beyond the three methods that every one has.

    init(key, spec) -> model                             corrupt(batch, key) -> examples
    loss(model, state, examples, key) -> (scalar, (state, metrics))

A contrastive loss is no sum over rows: every row meets all others. Such an objective splits `loss` in two,

    embed(model, state, examples, key) -> embeddings     row by row, from any part of the batch
    contrast(model, state, embeddings, examples)         -> (scalar, (state, metrics)), all rows at once

and the step accumulates it in two passes (`losses.cached_gradients`), so that k microbatches of m rows give
the gradient of one batch of k m. What is a sum over rows after all (an auxiliary masked LM) travels among the
embeddings, as each row's share of it.

An objective with a teacher or another state that no gradient reaches makes it and moves it on:

    init_state(model) -> state                           of a new model
    follow(state, model, step) -> state                  after the optimizer's step, with its new model

An objective whose encoder reads something else than colours from 0 to 1 says what

    inputs(pixels) -> arrays                             for judging its features

An objective that asks how often each token is sets `counts_tokens = True`: many rows are read for it.
"""

from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float, Int

from jaxssl.objectives.batches.batch import Ratio


@runtime_checkable
class Contrastive(Protocol):
    """Compares every row of the global batch with every other."""

    def embed(self, model: Any, state: Any, examples: Any, key: Array | None) -> Any:
        """A tree of arrays whose first axis is the rows of `examples`, each from its own row alone."""
        ...

    def contrast(
        self, model: Any, state: Any, embeddings: Any, examples: Any
    ) -> tuple[Float[Array, ""], tuple[Any, dict[str, Ratio]]]:
        """The loss of the global batch from all embeddings, in the order of `examples`."""
        ...


@runtime_checkable
class Carrying(Protocol):
    """Carries a state from step to step that is not differentiated."""

    def init_state(self, model: Any) -> Any:
        """The state of a new run. Leaves whose path ends as a parameter's does lie where it does."""
        ...

    def follow(self, state: Any, model: Any, step: Int[Array, ""]) -> Any:
        """The state after step `step`, counted from 0, has made `model`."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """Hands its encoder something that is made of the pixels."""

    def inputs(self, pixels: Float[Array, "batch height width channels"]) -> Array:
        """What the encoder reads, of colours from 0 to 1."""
        ...


def moving_average(average: Any, model: Any, decay: Float[Array, ""] | float) -> Any:
    """decay * average + (1 - decay) * model, leaf by leaf: a teacher that follows slowly."""
    return jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), average, model)
