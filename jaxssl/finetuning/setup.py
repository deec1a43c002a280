"""A finetuning: its configuration, its step, its evaluation. `finetune.py` puts them together."""

import dataclasses
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
from jaxssl.data.labelled.texts import Labelled, LabelledData
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives.batches.batch import Ratio
from jaxssl.optimizers.layer_decay import scale_by_layer
from jaxssl.optimizers.recipes import AdamW
from jaxssl.runs.checkpoint import Keep
from jaxssl.runs.stored_runs import run_folder
from jaxssl.sharding.mesh import Mesh, batch_sharding
from jaxssl.tasks.classify import Classify
from jaxssl.tasks.scores import LOWER_IS_BETTER, check_metric, scores
from jaxssl.training.step import TrainState, accumulate

Tree = Any


@dataclass(frozen=True)
class Finetuning:
    """A run for every seed. `configs/` holds recipes; flags change single fields."""

    data: Labelled
    task: Classify
    from_scratch: bool = False  # the same network with random parameters, for comparison
    optimizer: Any = field(default_factory=lambda: AdamW(peak=1e-4))
    layer_decay: float = 1.0  # learning rate of a layer, as a share of that of the next one
    mesh: Mesh = Mesh()
    batch: int = 32
    epochs: float = 3.0
    steps: int = 0  # instead of epochs; 0: epochs decide
    microbatches: int = 1
    evaluate_every: int = 0  # steps between two scores on dev; 0: an epoch
    evaluate_batch: int = 256
    metric: str = "accuracy"  # which decides on the best checkpoint: a score, or loss
    seeds: tuple[int, ...] = (0,)
    run: str = ""  # folder; runs/NAME of the config when empty
    report_every: int = 50  # steps between two lines

    def __post_init__(self) -> None:
        for name in ("batch", "microbatches", "evaluate_batch", "report_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")
        if self.steps < 0 or self.evaluate_every < 0:
            raise InputError("steps and evaluate_every must not be negative; 0 goes by epochs")
        if not self.steps and self.epochs <= 0:
            raise InputError(f"epochs={self.epochs} must be above 0")
        if self.batch % self.microbatches:
            raise InputError(
                f"batch {self.batch} cannot be cut into {self.microbatches} microbatches; "
                "choose --microbatches that divides --batch"
            )
        if getattr(self.optimizer, "host_moments", False):
            raise InputError(
                "optimizer.host_moments is for pretraining: a finetuned network and its moments fit a "
                "device; leave it out"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise InputError(f"seeds={self.seeds} must be different numbers from 0 on")

    @property
    def folder(self) -> Path:
        """Where the runs go: one folder for the pretrained, one for those from scratch."""
        return run_folder(self.run) / ("scratch" if self.from_scratch else "pretrained")


@dataclass(frozen=True)
class Plan:
    """How many steps the run of every seed takes, and after which of them dev is scored."""

    steps: int
    evaluate_every: int

    @classmethod
    def of(cls, config: Finetuning, data: LabelledData) -> "Plan":
        per_epoch = -(-len(data.train_ids(config.seeds[0])) // config.batch)
        steps = config.steps or max(round(config.epochs * per_epoch), 1)
        return cls(steps, config.evaluate_every or min(per_epoch, steps))

    def evaluates(self, done: int) -> bool:
        return done % self.evaluate_every == 0 or done == self.steps


def check_devices(config: Finetuning, mesh: DeviceMesh) -> None:
    """Raises InputError where the batches cannot be cut over the devices."""
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
                f"choose a multiple of {ways}, or a smaller --mesh.data"
            )


def replicated(mesh: DeviceMesh) -> NamedSharding:
    """A copy on every device: networks that are finetuned here fit on each."""
    return NamedSharding(mesh, PartitionSpec())


def make_state(
    config: Finetuning,
    network: TransformerConfig,
    spec: LabelledSpec,
    optimizer: optax.GradientTransformation,
    mesh: DeviceMesh,
) -> Callable[[int, Tree], TrainState]:
    """A compiled function (seed, pretrained model or None) -> new state, copied to every device."""

    def create(key: Array, pretrained: Tree) -> TrainState:
        model = config.task.init(key, network, spec, pretrained)
        return TrainState(jnp.zeros((), jnp.int32), model, optimizer.init(model), (), ())

    compiled = jax.jit(create, out_shardings=replicated(mesh))
    return lambda seed, pretrained: compiled(jax.random.key(seed), pretrained)


def make_finetuning_step(
    config: Finetuning, optimizer: optax.GradientTransformation, mesh: DeviceMesh
) -> Callable[[TrainState, Any, int], tuple[TrainState, dict[str, Ratio]]]:
    """The compiled step of all seeds: (state, batch, seed) -> (state, metrics). State is given up.

    The key of step t is folded from (seed, t), so a resumed run draws what the first would have.
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
    """A function (model, batches in order) -> log probabilities of the classes, by example."""

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
    log_probabilities: Float[np.ndarray, "examples classes"], labels: np.ndarray
) -> dict[str, float]:
    """The mean loss in nats and all scores."""
    loss = -float(log_probabilities[np.arange(len(labels)), labels].mean())
    predicted = log_probabilities.argmax(axis=1)
    return {"loss": loss, **scores(labels, predicted, log_probabilities.shape[1])}


@dataclass(frozen=True)
class Setup:
    """What the runs of all seeds share: data, plan, and functions that are compiled once."""

    config: Finetuning
    data: LabelledData
    network: TransformerConfig
    spec: LabelledSpec
    plan: Plan
    mesh: DeviceMesh
    create: Callable[[int, Tree], TrainState]
    step: Callable[[TrainState, Any, int], tuple[TrainState, dict[str, Ratio]]]
    predict: Callable[[Tree, ExampleBatches], Float[np.ndarray, "examples classes"]]

    @classmethod
    def of(
        cls,
        config: Finetuning,
        data: LabelledData,
        network: TransformerConfig,
        tokenizer: Tokenizer,
        mesh: DeviceMesh,
    ) -> "Setup":
        check_devices(config, mesh)
        plan, classes = Plan.of(config, data), len(data.names)
        check_metric(config.metric, classes)
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
            mesh,
            make_state(config, network, spec, optimizer, mesh),
            make_finetuning_step(config, optimizer, mesh),
            make_predictor(config, mesh),
        )

    @property
    def keep(self) -> Keep:
        """The best checkpoint stays, and the latest to go on from."""
        metric = self.config.metric
        return Keep(latest=1, best=metric, highest=metric not in LOWER_IS_BETTER)

    def training(self, seed: int) -> ExampleBatches:
        """The training examples of a seed, in its order."""
        examples = self.data.encoded["train"].take(self.data.train_ids(seed))
        return ExampleBatches(examples, self.spec, seed=seed, shuffle=True)

    def in_order(self, split: str) -> ExampleBatches:
        """All examples of a split once."""
        spec = dataclasses.replace(self.spec, batch=self.config.evaluate_batch)
        return ExampleBatches(self.data.encoded[split], spec, shuffle=False)
