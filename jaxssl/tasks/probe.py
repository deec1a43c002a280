"""Judging representations: how well do labels follow from features that are not trained any further?

    linear      loss = mean_i -log p(label_i | W x_i + b) + strength / 2 |W|^2 on standardised features, where
                the strength is chosen on some of the training images
    neighbours  score of class c = sum over the k training images nearest to x, of class c, of
                exp(cos(x, x_i) / T);   Wu et al. 2018, "Unsupervised feature learning via non-parametric
                instance discrimination", section 3.4

Pure functions on arrays:

    images    that are judged on, or known       features   numbers that describe an image
    classes   labels are 0 ... classes - 1       k          neighbours
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxssl.errors import InputError

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
PART = 0.1  # of the images that choose the strength, to compare on
CHOOSING = 10_000  # of the training images at most: a strength is nearly as good on all of them
TEMPERATURE = 0.07
SMALL = 1e-6  # a feature whose deviation is below it tells nothing, and is set to 0

Features = Float[np.ndarray, "images features"]
Labels = Int[np.ndarray, " images"]
Scores = Float[np.ndarray, "images classes"]


class Linear(NamedTuple):
    """A linear classifier of features as they are: the scores are x @ kernel + bias."""

    kernel: Float[np.ndarray, "features classes"]
    bias: Float[np.ndarray, " classes"]
    strength: float

    def scores(self, features: Features) -> Scores:
        """Of every class."""
        return features @ self.kernel + self.bias


def probe_linear(
    features: Features,
    labels: Labels,
    classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    iterations: int = 100,
) -> Linear:
    """Fits on nine tenths of 10,000 with every strength, on all with that which the last tenth likes best.

    Raises InputError for labels outside of the classes, or fewer than ten images.
    """
    check_labels(features, labels, classes)
    if len(features) < 1 / PART:
        raise InputError(f"{len(features)} images are too few to choose a strength on a tenth")
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > SMALL, 1 / np.maximum(deviation, SMALL), 0.0).astype(np.float32)
    standard = jnp.asarray((features - mean) * scale, jnp.float32)
    order = np.random.default_rng(seed).permutation(len(features))[:CHOOSING]
    count = round(PART * len(order))
    chosen, rest = order[:count], order[count:]
    start = (jnp.zeros((features.shape[1], classes)), jnp.zeros(classes))
    best, best_right = (strengths[0], start), -1.0
    for strength in sorted(strengths, reverse=True):  # each goes on from the one before
        start = fit(start, standard[rest], jnp.asarray(labels[rest]), strength, iterations)
        found = np.asarray(standard[chosen] @ start[0] + start[1][None])
        right = accuracy(found, labels[chosen])
        if right > best_right:
            best, best_right = (strength, start), right
    strength, start = best
    kernel, bias = fit(start, standard, jnp.asarray(labels), strength, iterations)
    whole = np.asarray(kernel) * scale[:, None]
    return Linear(whole, np.asarray(bias) - mean @ whole, strength)


@partial(jax.jit, static_argnames="iterations")
def fit(
    start: tuple[Array, Array],
    features: Float[Array, "images features"],
    labels: Int[Array, " images"],
    strength: float | Array,
    iterations: int,
    tolerance: float = 1e-4,
) -> tuple[Float[Array, "features classes"], Float[Array, " classes"]]:
    """The kernel and bias with the least loss, by L-BFGS, until the gradient is small."""

    def loss(parameters: tuple[Array, Array]) -> Array:
        kernel, bias = parameters
        logits = features @ kernel + bias[None]
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return nats + strength / 2 * jnp.square(kernel).sum()

    method = optax.lbfgs()
    value_and_gradient = optax.value_and_grad_from_state(loss)

    def step(carry: tuple[Array, tuple[Array, Array], optax.OptState, Array]) -> tuple:
        count, parameters, state, _ = carry
        value, gradient = value_and_gradient(parameters, state=state)
        updates, state = method.update(
            gradient, state, parameters, value=value, grad=gradient, value_fn=loss
        )
        return count + 1, optax.apply_updates(parameters, updates), state, optax.tree.norm(gradient)

    def goes_on(carry: tuple[Array, tuple[Array, Array], optax.OptState, Array]) -> Array:
        return (carry[0] < iterations) & (carry[3] > tolerance)

    first = (jnp.zeros((), jnp.int32), start, method.init(start), jnp.float32(jnp.inf))
    return jax.lax.while_loop(goes_on, step, first)[1]


def probe_neighbours(
    known: Features,
    labels: Labels,
    features: Features,
    classes: int,
    *,
    counts: Sequence[int] = (20, 200),
    temperature: float = TEMPERATURE,
    block: int = 256,
) -> dict[int, Scores]:
    """Scores of the classes for each number of neighbours, `block` images at a time.

    Raises InputError where there are fewer known images than neighbours.
    """
    check_labels(known, labels, classes)
    most = max(counts)
    if not 0 < min(counts) <= most <= len(known):
        raise InputError(f"{counts} neighbours of {len(known)} known images: take 1 to all of them")
    bank, answers = jnp.asarray(unit(known)), jnp.asarray(labels)

    @jax.jit
    def votes(queries: Float[Array, "block features"]) -> list[Array]:
        cosines, places = jax.lax.top_k(queries @ bank.T, most)
        weights = jnp.exp((cosines - 1) / temperature)
        is_class = answers[places][:, :, None] == jnp.arange(classes)[None, None]
        return [jnp.where(is_class[:, :k], weights[:, :k, None], 0.0).sum(axis=1) for k in counts]

    queries = unit(features)
    parts = []
    for first in range(0, len(queries), block):
        rows = queries[first : first + block]
        filled = np.pad(rows, ((0, block - len(rows)), (0, 0)))  # one program for all blocks
        parts.append([np.asarray(part)[: len(rows)] for part in votes(jnp.asarray(filled))])
    return {
        k: np.concatenate([part[i] for part in parts]) if parts else np.zeros((0, classes))
        for i, k in enumerate(counts)
    }


def nearest(known: Features, features: Features, count: int) -> Int[np.ndarray, "images count"]:
    """The numbers of the known images that lie nearest by the cosine, the nearest first."""
    cosines = jnp.asarray(unit(features)) @ jnp.asarray(unit(known)).T
    return np.asarray(jax.lax.top_k(cosines, count)[1])


def accuracy(scores: Scores, labels: Labels, top: int = 1) -> float:
    """Share of the images whose label is among the `top` best; equal scores count as worse."""
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    others = (scores >= own).sum(axis=1) - 1
    return float((others < top).mean()) if len(labels) else 0.0


def unit(features: Features) -> Features:
    """Rows of length one; what is all 0 stays so."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.maximum(lengths, 1e-12)).astype(np.float32)


def check_labels(features: Features, labels: Labels, classes: int) -> None:
    """Raises InputError for labels outside 0 ... classes - 1, of another number than the features, and
    for features that are no numbers.
    """
    if not np.isfinite(features).all():
        raise InputError(
            "features are no numbers; the run has diverged: take an earlier checkpoint"
        )
    if len(features) != len(labels):
        raise InputError(f"{len(features)} rows of features have {len(labels)} labels")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise InputError(f"labels {labels.min()} to {labels.max()} are not 0 to {classes - 1}")
