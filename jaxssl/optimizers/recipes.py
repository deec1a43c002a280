"""Optimizers as recipes: each is a frozen dataclass whose `make(steps)` gives an optax transformation.

All share the schedule, the clipping by global norm and the decay mask: kernels and embeddings decay,
biases and the scales of norms do not (Devlin et al. 2019, appendix A.2; Loshchilov & Hutter 2019).
Layers are stacked on a leading axis; where an optimizer looks at a parameter as a whole (the trust ratio
of LAMB and LARS, Adafactor's clipping, Muon's orthogonalisation) it is applied to every layer by itself.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxssl.errors import InputError
from jaxssl.optimizers.host_moments import OnHost
from jaxssl.optimizers.narrow_moments import in_bfloat16
from jaxssl.sharding.layout import path_of

Tree = Any
Schedule = Literal["cosine", "linear", "constant", "warmup_stable_decay"]
NO_DECAY = re.compile(r"(bias|scale)$")
STACKED = re.compile(r"(^|/)layers/(?!\d)")  # layers/0 is a layer of a perceptron, by itself


@dataclass(frozen=True)
class Recipe:
    """What all optimizers share. Not used by itself: see AdamW, Lamb, Lars, Sgd, Lion, Adafactor and Muon."""

    peak: float = 5e-4  # learning rate after the warmup
    warmup: int = 1_000  # steps from 0 to the peak, at most a tenth of a short run
    schedule: Schedule = "linear"
    final: float = 0.0  # learning rate at the last step, as a share of the peak
    stable: float = 0.8  # warmup_stable_decay: share of the steps at which the decay begins
    decay: float = 0.01  # decoupled weight decay
    clip: float = 1.0  # largest norm of the whole gradient; 0 switches it off
    moments: Literal["float32", "bfloat16"] = "float32"  # how the optimizer's state is kept
    host_moments: bool = False  # in the host's memory between updates: host_moments.py

    def rate(self, steps: int) -> optax.Schedule:
        """The learning rate as a function of the step."""
        warmup = min(self.warmup, max(steps // 10, 1)) if self.warmup else 0
        after = max(steps - warmup, 1)
        low = self.final * self.peak
        match self.schedule:
            case "constant":
                main = optax.constant_schedule(self.peak)
            case "linear":
                main = optax.linear_schedule(self.peak, low, after)
            case "cosine":
                main = optax.cosine_decay_schedule(self.peak, after, alpha=self.final)
            case "warmup_stable_decay":
                hold = max(int(self.stable * steps) - warmup, 0)
                fall = optax.linear_schedule(self.peak, low, max(after - hold, 1))
                main = optax.join_schedules([optax.constant_schedule(self.peak), fall], [hold])
            case _:
                raise InputError(
                    f"schedule {self.schedule!r} is unknown; "
                    "use cosine, linear, constant or warmup_stable_decay"
                )
        if not warmup:
            return main
        return optax.join_schedules([optax.linear_schedule(0.0, self.peak, warmup), main], [warmup])

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        raise NotImplementedError

    def make(self, steps: int) -> optax.GradientTransformation:
        if self.peak <= 0:
            raise InputError(f"learning rate peak={self.peak} must be above 0")
        clip = [optax.clip_by_global_norm(self.clip)] if self.clip else []
        optimizer = optax.chain(*clip, self.transform(self.rate(steps)))
        optimizer = optimizer if self.moments == "float32" else in_bfloat16(optimizer)
        return OnHost(*optimizer) if self.host_moments else optimizer


@dataclass(frozen=True)
class AdamW(Recipe):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-6

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        return optax.adamw(
            rate, self.b1, self.b2, self.epsilon, weight_decay=self.decay, mask=decays
        )


@dataclass(frozen=True)
class Lamb(Recipe):
    """Adam whose update is rescaled per layer to the norm of its parameter (You et al. 2020)."""

    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-6

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(self.b1, self.b2, self.epsilon),
            optax.add_decayed_weights(self.decay, mask=decays),
            per_layer(optax.scale_by_trust_ratio()),
            optax.scale_by_learning_rate(rate),
        )


@dataclass(frozen=True)
class Lars(Recipe):
    """Momentum SGD whose step is rescaled per layer to the norm of its parameter (You et al. 2017).

    The chain of `optax.lars`, stacked layers one by one. Biases and scales are neither decayed nor rescaled
    (Chen et al. 2020, section 2.2; Grill et al. 2020, section 3.3). The published peak is for a batch of 256
    and grows with the batch.
    """

    peak: float = 0.3
    schedule: Schedule = "cosine"
    decay: float = 1e-6  # added to the gradient, as LARS has it
    clip: float = 0.0
    momentum: float = 0.9
    trust: float = 1e-3  # share of a parameter's norm that a step of rate 1 makes
    biases: float = 1.0  # learning rate of biases and scales, as a share of the others'

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        rescaled = per_layer(optax.scale_by_trust_ratio(trust_coefficient=self.trust))
        return optax.chain(
            optax.add_decayed_weights(self.decay, mask=decays),
            optax.masked(rescaled, decays),
            optax.masked(optax.scale(self.biases), _does_not_decay),
            optax.scale_by_learning_rate(rate),
            optax.trace(self.momentum),
        )


@dataclass(frozen=True)
class Sgd(Recipe):
    """Stochastic gradient descent with momentum; decay is added to the gradient."""

    peak: float = 0.05
    schedule: Schedule = "cosine"
    decay: float = 1e-4
    clip: float = 0.0
    momentum: float = 0.9

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(self.decay, mask=decays),
            optax.sgd(rate, self.momentum),
        )


@dataclass(frozen=True)
class Lion(Recipe):
    """The sign of a momentum (Chen et al. 2023); use a third to a tenth of AdamW's peak."""

    peak: float = 1e-4
    b1: float = 0.9
    b2: float = 0.99

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        return optax.lion(rate, self.b1, self.b2, weight_decay=self.decay, mask=decays)


@dataclass(frozen=True)
class Adafactor(Recipe):
    """Second moments as row and column means, updates relative to the parameter (Shazeer & Stern 2018)."""

    peak: float = 1e-2

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        scaled = optax.chain(
            optax.scale_by_factored_rms(),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(),
        )
        return optax.chain(
            per_layer(scaled),
            optax.scale_by_learning_rate(rate),
            optax.add_decayed_weights(-self.decay * self.peak, mask=decays),
        )


@dataclass(frozen=True)
class Muon(Recipe):
    """Orthogonalised momentum for the kernels of the layers, AdamW for the rest (Jordan et al. 2024).

    Its updates are scaled to AdamW's root mean square (Liu et al. 2025, section 2.2), so that one
    peak serves both.
    """

    momentum: float = 0.95
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-6

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        return optax.contrib.muon(
            rate,
            beta=self.momentum,
            weight_decay=self.decay,
            weight_decay_mask=decays,
            adam_b1=self.b1,
            adam_b2=self.b2,
            adam_eps_root=0.0,
            adam_weight_decay=self.decay,
            muon_weight_dimension_numbers=_matrices,
            consistent_rms=0.2,
        )


def decays(model: Tree) -> Tree:
    """True for what weight decay applies to: kernels and embeddings, not biases and scales."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: NO_DECAY.search(path_of(path)) is None, model
    )


def _does_not_decay(model: Tree) -> Tree:
    return jax.tree.map(lambda kind: not kind, decays(model))


class _Done(NamedTuple):
    update: Any
    state: Any


def per_layer(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """Applies `inner` to every layer of stacked parameters by itself, as if they were not stacked."""

    def init(model: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: _over_layers(path, inner.init)(leaf), model
        )

    def update(updates: Tree, state: Tree, model: Tree = None) -> tuple[Tree, Tree]:
        done = jax.tree_util.tree_map_with_path(
            lambda path, *parts: _Done(*_over_layers(path, inner.update)(*parts)),
            updates,
            state,
            model,
        )
        new_updates, new_state = (
            jax.tree.map(lambda d, i=i: d[i], done, is_leaf=lambda x: isinstance(x, _Done))
            for i in range(2)
        )
        return new_updates, new_state

    return optax.GradientTransformation(init, update)


def _over_layers(path: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.vmap(function) if STACKED.search(path_of(path)) else function


def _matrices(model: Tree) -> Tree:
    """Which axes of a parameter Muon orthogonalises; None leaves it to AdamW."""

    def numbers(path: Any, leaf: Any) -> optax.contrib.MuonDimensionNumbers | None:
        name = path_of(path)
        if STACKED.search(name) and name.endswith("/kernel") and jnp.ndim(leaf) == 3:
            return optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
        return None

    return jax.tree_util.tree_map_with_path(numbers, model)
