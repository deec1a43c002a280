"""Configurations of optimizers: frozen dataclasses whose `make(steps)` returns an optax transformation.

All share the learning-rate schedule, the clipping by global norm and the mask of the weight decay:
kernels and embeddings decay, biases and the scales of norms do not (Devlin et al. 2019, appendix A.2;
Loshchilov & Hutter 2019). The layers of a network are stacked on a leading axis. Where an optimizer
uses properties of a whole parameter (the trust ratio of LAMB and LARS, Adafactor's clipping, Muon's
orthogonalisation), it is applied to each layer separately. Muon's AdamW part is the exception to the mask.

Notation in the docstrings: p parameter, g gradient (clipped), m and v moving averages, rate the scheduled
learning rate of the step, || || the Euclidean norm.
"""

import re
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxssl.errors import check_above, check_at_least, check_share, checked
from jaxssl.optimizers.per_layer import is_stacked, per_layer
from jaxssl.optimizers.recipe import Recipe, Schedule, Tree, decays
from jaxssl.sharding.layout import path_of

# Paths of the kernels of convolutions behind the stem of a residual network
CONVOLUTION = re.compile(r"(^|/)blocks/.*/kernel$")


@dataclass(frozen=True)
@checked
class AdamMoments(Recipe):
    """What AdamW and LAMB share: moving averages of the gradient and of its square."""

    b1: float = 0.9
    """Decay of the moving average of the gradient (first moment), per step."""
    b2: float = 0.999
    """Decay of the moving average of the squared gradient (second moment), per step."""
    epsilon: float = 1e-6
    """Added to the root of the second moment, against division by zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "b1", "b2")
        check_at_least(self, 0, "epsilon")


@dataclass(frozen=True)
@checked
class AdamW(AdamMoments):
    """Adam with decoupled weight decay.

        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   both divided by 1 - b^step
        p <- p - rate (m / (sqrt(v) + epsilon) + decay p)

    References:
      Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        """Returns AdamW with the learning rate `rate`."""
        return optax.adamw(
            rate, self.b1, self.b2, self.epsilon, weight_decay=self.decay, mask=decays
        )


@dataclass(frozen=True)
@checked
class Lamb(AdamMoments):
    """AdamW whose update is scaled to the norm of the parameter, layer by layer (LAMB).

        u = m / (sqrt(v) + epsilon) + decay p,   with m and v as in AdamW
        p <- p - rate ||p|| / ||u|| u

    References:
      You et al. 2020, "Large batch optimization for deep learning: training BERT in 76 minutes",
      algorithm 2.
    """

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        """Returns LAMB with the learning rate `rate`."""
        return optax.chain(
            optax.scale_by_adam(self.b1, self.b2, self.epsilon),
            optax.add_decayed_weights(self.decay, mask=decays),
            per_layer(optax.scale_by_trust_ratio()),
            optax.scale_by_learning_rate(rate),
        )


@dataclass(frozen=True)
@checked
class Lars(Recipe):
    """Momentum SGD whose step is scaled to the norm of the parameter, layer by layer (LARS).

        u = g + decay p
        m <- momentum m + rate trust ||p|| / ||u|| u,   p <- p - m

    Biases and the scales of norms are neither decayed nor scaled to the norm: for them, u = biases g and
    m <- momentum m + rate u. The published peak is for a batch of 256 rows, and grows in proportion to
    the batch. The rule is that of `optax.lars`, applied to each stacked layer separately. The code of
    SimCLR does the same; that of BYOL, Barlow Twins and VICReg has m <- momentum m + trust ||p|| / ||u|| u,
    p <- p - rate m, which differs while the learning rate changes.

    References:
      You et al. 2017, "Large batch training of convolutional networks", algorithm 1; for the exception
      of biases and scales, Chen et al. 2020 (SimCLR), section 2.2, and Grill et al. 2020 (BYOL),
      section 3.3.
    """

    peak: float = 0.3
    """Learning rate at its peak, after the warm-up."""
    schedule: Schedule = "cosine"
    """Course of the learning rate after the warm-up."""
    decay: float = 1e-6
    """Weight decay, which LARS adds to the gradient before it is scaled."""
    clip: float = 0.0
    """Upper limit of the norm of the whole gradient; 0 means no clipping."""
    momentum: float = 0.9
    """Fraction of the previous step that is added to the next."""
    trust: float = 1e-3
    """Norm of a step, without momentum and at learning rate 1, as a fraction of the parameter's norm."""
    biases: float = 1.0
    """Learning rate of biases and the scales of norms, as a fraction of the others'."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "momentum")
        check_above(self, 0, "trust")
        check_at_least(self, 0, "biases")

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        """Returns LARS with the learning rate `rate`."""
        rescaled = per_layer(optax.scale_by_trust_ratio(trust_coefficient=self.trust))
        return optax.chain(
            optax.add_decayed_weights(self.decay, mask=decays),
            optax.masked(rescaled, decays),
            optax.masked(optax.scale(self.biases), _does_not_decay),
            optax.scale_by_learning_rate(rate),
            optax.trace(self.momentum),
        )


@dataclass(frozen=True)
@checked
class Sgd(Recipe):
    """Stochastic gradient descent with momentum.

        m <- momentum m + g + decay p,   p <- p - rate m

    References:
      Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning",
      section 2 (classical momentum, with the learning rate outside of m).
    """

    peak: float = 0.05
    """Learning rate at its peak, after the warm-up."""
    schedule: Schedule = "cosine"
    """Course of the learning rate after the warm-up."""
    decay: float = 1e-4
    """Weight decay, which is added to the gradient (L2 regularisation)."""
    clip: float = 0.0
    """Upper limit of the norm of the whole gradient; 0 means no clipping."""
    momentum: float = 0.9
    """Fraction of the previous m that is kept in each step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "momentum")

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        """Returns momentum SGD with the learning rate `rate`."""
        return optax.chain(
            optax.add_decayed_weights(self.decay, mask=decays),
            optax.sgd(rate, self.momentum),
        )


@dataclass(frozen=True)
@checked
class Lion(Recipe):
    """The sign of a momentum (Lion). Its peak is usually a third to a tenth of AdamW's.

        p <- p - rate (sign(b1 m + (1 - b1) g) + decay p),   then m <- b2 m + (1 - b2) g

    References:
      Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2.
    """

    peak: float = 1e-4
    """Learning rate at its peak, after the warm-up."""
    b1: float = 0.9
    """Weight of the moving average, against the gradient, in the update."""
    b2: float = 0.99
    """Decay of the moving average of the gradient, per step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "b1", "b2")

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        """Returns Lion with the learning rate `rate`."""
        return optax.lion(rate, self.b1, self.b2, weight_decay=self.decay, mask=decays)


@dataclass(frozen=True)
@checked
class Adafactor(Recipe):
    """Adam without a first moment, and with second moments kept as row and column means (Adafactor).

        v ~ row means x column means of the moving average of g^2
        u = g / sqrt(v), scaled down to a root mean square of at most 1
        p <- p - rate (max(RMS(p), 0.001) u + decay p)

    The learning rate is relative to the root mean square (RMS) of the parameter. Parameters with an axis
    shorter than 128 keep the whole v.

    References:
      Shazeer & Stern 2018, "Adafactor: adaptive learning rates with sublinear memory cost",
      algorithm 4.
    """

    peak: float = 1e-2
    """Learning rate at its peak, after the warm-up, relative to the size of the parameters."""

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        """Returns Adafactor with the learning rate `rate`."""
        scaled = optax.chain(
            optax.scale_by_factored_rms(),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(),
        )
        return optax.chain(
            per_layer(scaled),
            optax.add_decayed_weights(self.decay, mask=decays),
            optax.scale_by_learning_rate(rate),
        )


@dataclass(frozen=True)
@checked
class Muon(Recipe):
    """Orthogonalised momentum for the kernels of the layers, AdamW for all other parameters (Muon).

        m <- momentum m + (1 - momentum) g,   p <- p - rate (0.2 sqrt(max(rows, columns)) O + decay p)

    O is the orthogonal matrix nearest to the Nesterov momentum, approximated by Newton-Schulz iterations.
    The factor 0.2 sqrt(max(rows, columns)) gives the updates the root mean square that AdamW's typically
    have, so that one peak fits both. Layers are the stacked layers of transformers, and the convolutions of
    residual networks but the first, whose kernels `[height, width, inputs, outputs]` are taken as matrices
    with height x width x inputs rows.

    The AdamW part uses Nesterov momentum as well, and decays all of its parameters, also biases and scales.

    References:
      Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks" (blog post); for the
      factor, Liu et al. 2025, "Muon is scalable for LLM training", section 2.2.
    """

    decay: float = 0.01
    """Weight decay per unit of learning rate: parameters shrink by rate * decay per step, with AdamW's part
    also biases and the scales of norms."""
    momentum: float = 0.95
    """Decay of the moving average of the gradient that is orthogonalised, per step."""
    b1: float = 0.9
    """AdamW's decay of the moving average of the gradient (first moment), per step."""
    b2: float = 0.999
    """AdamW's decay of the moving average of the squared gradient (second moment), per step."""
    epsilon: float = 1e-8
    """Added to AdamW's root of the second moment and to the norm that Muon divides by, against division
    by zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share(self, "momentum", "b1", "b2")
        check_at_least(self, 0, "epsilon")

    def cautions(self, steps: int, model: Tree) -> list[str]:
        """Describes, besides what `Recipe.cautions` does, that there is nothing to orthogonalise.

        Args:
          steps: Steps of the run.
          model: Pytree of the parameters, or of their shapes.
        """
        found = super().cautions(steps, model)
        if not jax.tree.leaves(_matrices(model)):
            found.append(
                "class=Muon finds no kernel of a layer to orthogonalise in this network: all parameters are "
                "trained by its AdamW"
            )
        return found

    def transform(self, rate: optax.Schedule) -> optax.GradientTransformation:
        """Returns Muon with the learning rate `rate`."""
        return optax.contrib.muon(
            rate,
            beta=self.momentum,
            eps=self.epsilon,
            weight_decay=self.decay,
            weight_decay_mask=decays,
            adam_b1=self.b1,
            adam_b2=self.b2,
            adam_eps_root=0.0,
            adam_weight_decay=self.decay,
            muon_weight_dimension_numbers=_matrices,
            consistent_rms=0.2,
        )


def _does_not_decay(model: Tree) -> Tree:
    """Returns the opposite of `decays`."""
    return jax.tree.map(lambda kind: not kind, decays(model))


def _matrices(model: Tree) -> Tree:
    """Returns the axes of each parameter that Muon orthogonalises; None leaves the parameter to AdamW."""

    def numbers(path: Any, leaf: Any) -> optax.contrib.MuonDimensionNumbers | None:
        name = path_of(path)
        if is_stacked(name) and name.endswith("/kernel") and jnp.ndim(leaf) == 3:
            return optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
        if CONVOLUTION.search(name) and jnp.ndim(leaf) == 4:
            return optax.contrib.MuonDimensionNumbers(reduction_axis=(0, 1, 2), output_axis=3)
        return None

    return jax.tree_util.tree_map_with_path(numbers, model)
