"""The configuration, the step and the evaluation of a finetuning, which `finetune.py` puts together."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh as DeviceMesh
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from jaxssl.data.labelled.example_batches import ExampleBatches, LabelledSpec
from jaxssl.data.labelled.tables import Labelled
from jaxssl.data.labelled.texts import LabelledData
from jaxssl.data.labels import positive_class
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, check_at_least
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import Ratio
from jaxssl.optimizers.layer_decay import scale_by_layer
from jaxssl.optimizers.recipes import AdamW
from jaxssl.runs.checkpoint import Keep
from jaxssl.runs.stored_runs import run_folder
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.tasks.classify import Classify
from jaxssl.tasks.scores import LOWER_IS_BETTER, check_metric, scores
from jaxssl.training.gradients import accumulate
from jaxssl.training.step import TrainState

Tree = Any
LARGEST = 2**31 - 1  # steps and seeds are int32 on the devices
MOST_EPOCHS = 100_000
LARGEST_BATCH = 2**20


@dataclass(frozen=True)
class Finetuning:
    """Everything that a finetuning is made of, one run for each seed. Flags change single fields."""

    data: Labelled
    """Files with labelled texts, for training, dev and test."""
    task: Classify
    """Labelled task, with the checkpoint that it begins from."""
    from_scratch: bool = False
    """Whether the same network begins with random parameters instead, for comparison."""
    optimizer: Any = field(default_factory=lambda: AdamW(peak=1e-4))
    """Optimizer with its learning rate schedule, such as `AdamW`."""
    layer_decay: float = 1.0
    """Learning rate of a layer, as a fraction of that of the next layer; 1 gives all layers the same."""
    mesh: Mesh = Mesh()
    """Number of devices along the axes data, fsdp and tensor."""
    batch: int = 32
    """Number of examples of a step."""
    epochs: float = 3.0
    """Number of passes over the training examples."""
    steps: int = 0
    """Number of steps, instead of epochs; 0 lets the epochs decide."""
    microbatches: int = 1
    """Number of equal parts that every batch is split into for gradient accumulation, to save memory."""
    evaluate_every: int = 0
    """Number of steps between two scores on dev; 0 for once an epoch."""
    evaluate_batch: int = 256
    """Number of examples that are scored at once."""
    metric: str = "accuracy"
    """Score on dev that decides which checkpoint is the best: accuracy, f1_macro, mcc or loss, and f1 where
    there are two classes."""
    positive: str | None = None
    """Label that the score f1 is of. None takes 1, true, yes or positive, of two other numbers the larger
    one, and of two other labels the one with fewer training examples."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the runs: each has a head, an order of the examples and dropout of its own."""
    run: str = ""
    """Folder of the runs, or its address on an object store. Empty for `runs/NAME`, named for the recipe."""
    report_every: int = 50
    """Number of steps between two lines of the log."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "batch", "microbatches", "evaluate_batch", "report_every")
        if not 0 <= self.steps <= LARGEST or not 0 <= self.evaluate_every <= LARGEST:
            raise InputError(
                f"steps={self.steps} and evaluate_every={self.evaluate_every} must be from 0 to {LARGEST:,}; "
                "0 goes by epochs"
            )
        if not self.steps and not 0 < self.epochs <= MOST_EPOCHS:
            raise InputError(f"epochs={self.epochs} must be above 0 and at most {MOST_EPOCHS:,}")
        if self.batch > LARGEST_BATCH or self.evaluate_batch > LARGEST_BATCH:
            raise InputError(
                f"batch={self.batch} and evaluate_batch={self.evaluate_batch} must be at most "
                f"{LARGEST_BATCH:,}"
            )
        if self.batch % self.microbatches:
            raise InputError(
                f"batch={self.batch} cannot be cut into {self.microbatches} microbatches; "
                "choose a number of microbatches that divides it"
            )
        if getattr(self.optimizer, "host_moments", False):
            raise InputError(
                "optimizer.host_moments is for pretraining: a finetuned network and its moments fit a "
                "device; set it to False"
            )
        differ = len(set(self.seeds)) == len(self.seeds) > 0
        if not differ or min(self.seeds) < 0 or max(self.seeds) > LARGEST:
            raise InputError(f"seeds={self.seeds} must be different numbers from 0 to {LARGEST:,}")

    @property
    def folder(self) -> Path:
        """Returns the folder of the runs: `pretrained` or `scratch` below `run`."""
        return run_folder(self.run) / ("scratch" if self.from_scratch else "pretrained")


@dataclass(frozen=True)
class Plan:
    """How many steps the run of every seed takes, and after which of them dev is scored."""

    steps: int
    """Number of steps of a run."""
    evaluate_every: int
    """Number of steps between two scores on dev."""

    @classmethod
    def of(cls, config: Finetuning, data: LabelledData) -> "Plan":
        """Returns the plan of a finetuning of `config` on `data`."""
        per_epoch = -(-len(data.train_ids(config.seeds[0])) // config.batch)
        steps = config.steps or min(max(round(config.epochs * per_epoch), 1), LARGEST)
        return cls(steps, config.evaluate_every or min(per_epoch, steps))

    def evaluates(self, done: int) -> bool:
        """Returns whether dev is scored after `done` steps."""
        return done % self.evaluate_every == 0 or done == self.steps


def check_devices(config: Finetuning, mesh: DeviceMesh) -> None:
    """Raises InputError where the batches of `config` cannot be sharded over the devices of `mesh`."""
    if jax.process_count() > 1:
        raise InputError("finetuning runs on the devices of one host; start it on one")
    ways = mesh.shape["data"] * mesh.shape["fsdp"]
    for name, size in (
        ("batch", config.batch // config.microbatches),
        ("evaluate_batch", config.evaluate_batch),
    ):
        if size % ways:
            raise InputError(
                f"{name}: {size} rows at a time cannot be cut over {ways} devices; "
                f"choose a multiple of {ways}, or a smaller mesh.data"
            )


def replicated(mesh: DeviceMesh) -> NamedSharding:
    """Returns the sharding that copies an array to every device of `mesh`."""
    return NamedSharding(mesh, PartitionSpec())


def make_state(
    config: Finetuning,
    network: TransformerConfig,
    spec: LabelledSpec,
    optimizer: optax.GradientTransformation,
    mesh: DeviceMesh,
) -> Callable[[int, Tree], TrainState]:
    """Returns the compiled function (seed, what was pretrained or None) -> new state, on every device.

    Args:
      config: Configuration of the finetuning.
      network: Configuration of the network.
      spec: Description of the batches.
      optimizer: Optimizer of the runs.
      mesh: Devices of the run.
    """

    def create(key: Array, pretrained: Tree) -> TrainState:
        model = config.task.init(key, network, spec, pretrained)
        return TrainState(jnp.zeros((), jnp.int32), model, optimizer.init(model), (), ())

    compiled = jax.jit(create, out_shardings=replicated(mesh))
    return lambda seed, pretrained: compiled(jax.random.key(seed), pretrained)


def make_finetuning_step(
    config: Finetuning, optimizer: optax.GradientTransformation, mesh: DeviceMesh
) -> Callable[[TrainState, Any, int], tuple[TrainState, dict[str, Ratio]]]:
    """Returns the compiled step of all seeds: (state, batch, seed) -> (new state, metrics).

    The old state is donated. The random key of step t is made of the seed and t alone, so a resumed run draws
    the same numbers as one that was never stopped.

    Args:
      config: Configuration of the finetuning.
      optimizer: Optimizer of the runs.
      mesh: Devices that the batch is sharded over.
    """

    def step(
        state: TrainState, batch: dict[str, Array], seed: Array
    ) -> tuple[TrainState, dict[str, Ratio]]:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(1), seed), state.step)
        examples = config.task.weigh(batch)
        gradients, _, totals = accumulate(
            config.task.loss, state.model, (), examples, key, config.microbatches
        )
        updates, moments = optimizer.update(gradients, state.optimizer, state.model)
        model = optax.apply_updates(state.model, updates)
        metrics = {name: Ratio(*pair) for name, pair in totals.items()}
        metrics["gradient_norm"] = Ratio(optax.tree.norm(gradients), jnp.ones(()))
        return TrainState(state.step + 1, model, moments, (), ()), metrics

    compiled = jax.jit(step, donate_argnums=0, in_shardings=(None, batch_sharding(mesh), None))
    return lambda state, batch, seed: compiled(state, batch, np.int32(seed))


def make_predictor(
    config: Finetuning, mesh: DeviceMesh
) -> Callable[[Tree, ExampleBatches], Float[np.ndarray, "examples classes"]]:
    """Returns the function (model, batches in order) -> log probabilities of the classes, by example.

    Args:
      config: Configuration of the finetuning.
      mesh: Devices that the batches are sharded over.
    """

    def logits(model: Tree, batch: dict[str, Array]) -> Array:
        return config.task.logits(model, batch["tokens"], batch["sizes"])

    compiled = jax.jit(logits, in_shardings=(None, batch_sharding(mesh)))

    def predict(model: Tree, batches: ExampleBatches) -> np.ndarray:
        numbers = range(batches.batches)
        parts = jax.device_get([compiled(model, batches.batch(number)) for number in numbers])
        found = np.zeros((len(batches.examples), batches.spec.classes), np.float64)
        for number, part in zip(numbers, parts, strict=True):
            ids = batches.row_ids(number)
            found[ids] = part[: len(ids)]
        highest = found.max(axis=1, keepdims=True)
        return found - highest - np.log(np.exp(found - highest).sum(axis=1, keepdims=True))

    return predict


def score(
    log_probabilities: Float[np.ndarray, "examples classes"],
    labels: np.ndarray,
    positive: int = 1,
) -> dict[str, float]:
    """Computes the mean loss in nats and all scores.

    Args:
      log_probabilities: Natural logarithms of the probabilities, `[examples, classes]`.
      labels: Numbers of the right classes, `[examples]`.
      positive: Number of the class that "f1" is of, where there are two.

    Returns:
      Scores by name.
    """
    loss = -float(log_probabilities[np.arange(len(labels)), labels].mean())
    predicted = log_probabilities.argmax(axis=1)
    return {
        "loss": loss,
        **scores(labels, predicted, log_probabilities.shape[1], positive=positive),
    }


@dataclass(frozen=True)
class Setup:
    """What the runs of all seeds share: data, plan, and functions that are compiled once."""

    config: Finetuning
    """Configuration of the finetuning."""
    data: LabelledData
    """Encoded examples of all splits."""
    network: TransformerConfig
    """Configuration of the network."""
    spec: LabelledSpec
    """Description of the batches."""
    plan: Plan
    """Number of steps and of evaluations."""
    positive: int
    """Number of the class that the score f1 is of, where there are two."""
    mesh: DeviceMesh
    """Devices of the runs."""
    create: Callable[[int, Tree], TrainState]
    """Compiled function (seed, what was pretrained or None) -> new state."""
    step: Callable[[TrainState, Any, int], tuple[TrainState, dict[str, Ratio]]]
    """Compiled function (state, batch, seed) -> (new state, metrics)."""
    predict: Callable[[Tree, ExampleBatches], Float[np.ndarray, "examples classes"]]
    """Function (model, batches in order) -> log probabilities of the classes, by example."""

    @classmethod
    def of(
        cls,
        config: Finetuning,
        data: LabelledData,
        network: TransformerConfig,
        tokenizer: Tokenizer,
        mesh: DeviceMesh,
    ) -> "Setup":
        """Checks the configuration against data and devices, and compiles what the runs share.

        Args:
          config: Configuration of the finetuning.
          data: Encoded examples of all splits.
          network: Configuration of the network.
          tokenizer: Tokenizer of the pretraining.
          mesh: Devices of the runs.

        Raises:
          InputError: A batch does not divide over the devices, or the metric or the positive label is
            unknown.
        """
        check_devices(config, mesh)
        plan, classes = Plan.of(config, data), len(data.names)
        check_metric(config.metric, classes)
        counts = Counter(data.tables["train"].labels)
        positive = positive_class(data.names, counts, config.positive)
        spec = LabelledSpec.of(tokenizer, batch=config.batch, lengths=data.lengths, classes=classes)
        optimizer = optax.chain(
            config.optimizer.make(plan.steps), scale_by_layer(config.layer_decay)
        )
        return cls(
            config,
            data,
            network,
            spec,
            plan,
            1 if positive is None else data.names.index(positive),
            mesh,
            make_state(config, network, spec, optimizer, mesh),
            make_finetuning_step(config, optimizer, mesh),
            make_predictor(config, mesh),
        )

    @property
    def keep(self) -> Keep:
        """Returns which checkpoints are kept: the best one, and the latest to go on from."""
        metric = self.config.metric
        return Keep(latest=1, best=metric, highest=metric not in LOWER_IS_BETTER)

    def training(self, seed: int) -> ExampleBatches:
        """Returns the batches of the training examples of `seed`, in its random order."""
        examples = self.data.encoded["train"].take(self.data.train_ids(seed))
        return ExampleBatches(examples, self.spec, seed=seed, shuffle=True)

    def in_order(self, split: str) -> ExampleBatches:
        """Returns the batches of all examples of `split`, each once, in order."""
        spec = dataclasses.replace(self.spec, batch=self.config.evaluate_batch)
        return ExampleBatches(self.data.encoded[split], spec, shuffle=False)
