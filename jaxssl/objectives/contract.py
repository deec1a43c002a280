"""The interface of an objective: every method that a run calls, with a default wherever there can be one.

A class in a file of your own that inherits from `Objective` and writes three methods can be trained,
resumed, evaluated, planned, finetuned and used for embeddings like those of the library:

    @dataclass(frozen=True)
    class Mine(Objective):
        encoder: TransformerConfig                                     # its fields are its configuration

        def init(self, key, spec): ...                                 # -> model
        def corrupt(self, batch, key): ...                             # -> examples
        def loss(self, model, state, examples, key): ...               # -> (scalar, (state, metrics))

`docs/write_an_objective.md` builds one step by step. An objective that compares every row with all others
inherits from `ContrastiveObjective` and splits `loss` into `embed` and `contrast`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, final

import jax
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError
from jaxssl.objectives.batches.batch import Metric

Metrics = Mapping[str, Metric]
Model = Any  # a Flax NNX module, or any other pytree of arrays
State = Any  # a pytree of arrays that is carried from step to step and not differentiated
Examples = Any  # a pytree of arrays whose first axis is the rows of the batch
LossAndMetrics = tuple[Float[Array, ""], tuple[State, Metrics]]


class Objective(Protocol):
    """One self-supervised task: a frozen dataclass with pure methods, whose fields are its configuration."""

    counts_tokens: ClassVar[bool] = False
    """Whether `corrupt` needs `Vocabulary.frequency`, for which many rows are read before the run."""

    corrupts_rows_apart: ClassVar[bool] = False
    """Whether `corrupt` takes every row by itself, but for weights that `share_evenly` makes. Held-out rows
    are then corrupted one by one, so that their metrics do not depend on the size of a batch."""

    @abstractmethod
    def init(self, key: Array, spec: Any) -> Model:
        """Makes the network with its heads, with fresh parameters.

        Args:
          key: Random key, `jax.random.key`.
          spec: Description of the batch, a `TextSpec` (`batch`, `length`, `vocab_size`, special ids) or an
            `ImageSpec` (`batch`, `height`, `width`, `channels`, `captions`).

        Returns:
          The model, a pytree. Classes of modules may carry a `layout` (`jaxssl/sharding/layout.py`).
        """

    @abstractmethod
    def corrupt(self, batch: Any, key: Array) -> Examples:
        """Makes examples from a global batch as it was read: hides tokens, draws keys, and assigns weights.

        Args:
          batch: `Text` (`tokens`, int32 `[batch, length]`, and `vocabulary`) or `Images` (`pixels`, uint8
            `[batch, height, width, channels]`, and `captions`).
          key: Random key of this step.

        Returns:
          A pytree of arrays whose first axis is `batch`. Weights add up to one over the global batch, so
          that sums over microbatches and devices are exact.
        """

    @abstractmethod
    def loss(
        self, model: Model, state: State, examples: Examples, key: Array | None
    ) -> LossAndMetrics:
        """Computes the weighted sum of the losses of these examples, which may be a part of the global batch.

        Args:
          model: The result of `init`, with the parameters of this step.
          state: The result of `init_state`, as `loss` and `follow` have changed it; not differentiated.
          examples: Some rows of the result of `corrupt`.
          key: Random key for dropout; None in evaluation, where nothing is dropped.

        Returns:
          The loss, a scalar, and (the state, metrics by name). A metric is a `Ratio` of sums, which add up.
        """

    def init_state(self, model: Model) -> State:
        """Makes the state of a new run from its `model`, such as a teacher or running statistics.

        Leaves whose path ends as a parameter's does are sharded as that parameter. By default there is
        none.
        """
        return ()

    def follow(self, state: State, model: Model, step: Int[Array, ""]) -> State:
        """Updates `state` after the optimizer's step number `step`, a scalar from 0 on, has made `model`."""
        return state

    def for_run(self, steps: int) -> Any:
        """Returns the objective with everything that follows the length of a run set for `steps` steps.

        Raises:
          InputError: A field does not fit so many steps.
        """
        return self

    def network(self, model: Model) -> Any:
        """Returns the part of `model` that finetuning and embedding take over, by default its `encoder`.

        Raises:
          InputError: The model has no `encoder`, and the objective does not say what to take instead.
        """
        network = getattr(model, "encoder", None)
        if network is None:
            raise InputError(
                f"{type(self).__name__} has no network for finetuning and embedding: its model has no "
                "attribute `encoder`; give the objective a method `network(model)`, or pass another run"
            )
        return network

    def finetuning_config(self, model: Model) -> Any:
        """Returns the configuration of `network(model)` for finetuning, by default its own."""
        return self.network(model).config

    @property
    def text_pooling(self) -> Any:
        """How the states of a text become its embedding by default: "mean" or "cls"."""
        return "mean"

    def inputs(self, pixels: Float[Array, "batch height width channels"]) -> Array:
        """Converts `pixels`, `[batch, height, width, channels]` from 0 to 1, to what the encoder reads.

        By default the encoder reads the pixels themselves.
        """
        return pixels


class ContrastiveObjective(Objective):
    """An objective that compares every row of the global batch with every other.

    The step accumulates its gradient in two passes (`losses.cached_gradients`), so that k microbatches of m
    rows give the gradient of one batch of k m rows. A loss that is a sum over rows, such as a masked LM
    beside the contrast, is handed on with the embeddings, as the share of each row.
    """

    @abstractmethod
    def embed(self, model: Model, state: State, examples: Examples, key: Array | None) -> Any:
        """Embeds some rows.

        Args:
          model: The model.
          state: The state; read only.
          examples: Some rows of the result of `corrupt`.
          key: Random key for dropout; None in evaluation.

        Returns:
          A pytree of arrays whose first axis is the rows, each computed from its own row alone.
        """

    @abstractmethod
    def contrast(
        self, model: Model, state: State, embeddings: Any, examples: Examples
    ) -> LossAndMetrics:
        """Computes the loss of the global batch.

        Args:
          model: The model, for heads that need all rows.
          state: The state.
          embeddings: The results of `embed` for all rows, in their order.
          examples: The result of `corrupt`.

        Returns:
          The loss, a scalar, and (the state, metrics by name).
        """

    @final
    def loss(
        self, model: Model, state: State, examples: Examples, key: Array | None
    ) -> LossAndMetrics:
        """Computes `contrast` of `embed`, for a batch that is not split into microbatches.

        Args:
          model: The model.
          state: The state.
          examples: The result of `corrupt`.
          key: Random key for dropout; None in evaluation.
        """
        return self.contrast(model, state, self.embed(model, state, examples, key), examples)


def check_objective(objective: Any) -> None:
    """Raises `InputError` where `objective` lacks a method that a run calls."""
    public = [name for name in vars(Objective) if not name.startswith("_")]
    required = Objective.__abstractmethods__
    for name in sorted(public, key=lambda name: name not in required):  # these are told first
        if not hasattr(objective, name):
            raise InputError(
                f"objective {type(objective).__name__} has no `{name}`; let its class inherit from "
                "jaxssl.objectives.Objective, which has a default for all but init, corrupt and loss"
            )


def moving_average(average: Any, model: Any, decay: Float[Array, ""] | float) -> Any:
    """Computes `decay * average + (1 - decay) * model` for every leaf.

    Args:
      average: Pytree of arrays, such as a teacher.
      model: Pytree of the same structure.
      decay: Share of the average that stays, a scalar from 0 to 1.
    """
    return jax.tree.map(lambda old, new: old + (1 - decay) * (new - old), average, model)
