"""Linear and nearest-neighbour classification on features that are not trained further.

    linear      loss = mean_i -log softmax(W x_i + b)[label_i] + strength / 2 |W|^2 on standardised features,
                where the strength is chosen on a part of the training images
    neighbours  score of class c = sum of exp((cos(x, x_i) - 1) / T) over those of the k training images
                nearest to x that have label c

Shapes, in pure functions on arrays:

    images    number of images                   features   width of the features of an image
    classes   labels are 0 … classes - 1         k          number of neighbours

References:
    Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination", section 3.4
    (neighbours; their weights exp(cos / T) differ by a constant factor).
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

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # of the L2 regularisation, to choose from
PART = 0.1  # fraction of the images for choosing the strength that the strengths are compared on
CHOOSING = 10_000  # largest number of images for choosing the strength; more would hardly change it
TEMPERATURE = 0.07
SMALL = 1e-6  # a feature with a smaller standard deviation carries no information, and is set to 0

Features = Float[np.ndarray, "images features"]
Labels = Int[np.ndarray, " images"]
Scores = Float[np.ndarray, "images classes"]


class LinearProbe(NamedTuple):
    """A linear classifier of features that are not standardised: the logits are x @ kernel + bias."""

    kernel: Float[np.ndarray, "features classes"]
    """Weights, `[features, classes]`."""
    bias: Float[np.ndarray, " classes"]
    """Bias, `[classes]`."""
    strength: float
    """Strength of the L2 regularisation that was chosen."""

    def scores(self, features: Features) -> Scores:
        """Computes the logits of every class, `[images, classes]`, from `features`, `[images, features]`."""
        return features @ self.kernel + self.bias


def probe_linear(
    features: Features,
    labels: Labels,
    classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    iterations: int = 100,
) -> LinearProbe:
    """Fits a linear classifier, and chooses the strength of its regularisation.

    Of 10,000 random images (or all, if there are fewer), nine tenths are fitted with every strength, and the
    last tenth chooses the strength with the highest accuracy. All images are then fitted with that strength.

    Args:
      features: Features of the training images, `[images, features]`. They are standardised inside.
      labels: Their labels, `[images]`.
      classes: Number of classes.
      strengths: Strengths of the L2 regularisation to choose from.
      seed: Seed of the choice of images.
      iterations: Largest number of steps of L-BFGS in each fit.

    Raises:
      InputError: Labels are outside of the classes or do not match the features, features are not finite, or
        there are fewer than ten images.
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
    for strength in sorted(
        strengths, reverse=True
    ):  # each fit starts from the result of the one before
        start = fit(start, standard[rest], jnp.asarray(labels[rest]), strength, iterations)
        found = np.asarray(standard[chosen] @ start[0] + start[1][None])
        right = accuracy(found, labels[chosen])
        if right > best_right:
            best, best_right = (strength, start), right
    strength, start = best
    kernel, bias = fit(start, standard, jnp.asarray(labels), strength, iterations)
    whole = np.asarray(kernel) * scale[:, None]
    return LinearProbe(whole, np.asarray(bias) - mean @ whole, strength)


@partial(jax.jit, static_argnames="iterations")
def fit(
    start: tuple[Array, Array],
    features: Float[Array, "images features"],
    labels: Int[Array, " images"],
    strength: float | Array,
    iterations: int,
    tolerance: float = 1e-4,
) -> tuple[Float[Array, "features classes"], Float[Array, " classes"]]:
    """Fits multinomial logistic regression with L2 regularisation of the kernel, by L-BFGS.

        loss = mean_i -log softmax(x_i @ kernel + bias)[label_i] + strength / 2 |kernel|^2

    Args:
      start: Kernel `[features, classes]` and bias `[classes]` to start from.
      features: Features, `[images, features]`, of about unit variance.
      labels: Labels, `[images]`.
      strength: Strength of the regularisation.
      iterations: Largest number of steps.
      tolerance: Norm of the gradient at which the iteration ends.

    Returns:
      Kernel, `[features, classes]`, and bias, `[classes]`.
    """

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
    """Classifies images by the labels of their nearest neighbours among known images.

        score of class c = sum of exp((cos(x, x_i) - 1) / temperature) over the k nearest known images x_i
                           with label c

    Args:
      known: Features of the known images, `[known images, features]`.
      labels: Labels of the known images, `[known images]`.
      features: Features of the images to classify, `[images, features]`.
      classes: Number of classes.
      counts: Numbers of neighbours k.
      temperature: Temperature of the weights.
      block: Number of images that are classified at a time.

    Returns:
      Scores `[images, classes]` for each number of neighbours.

    Raises:
      InputError: There are fewer known images than neighbours, or labels and features of the known images do
        not match as in `check_labels`.
    """
    check_labels(known, labels, classes)
    most = max(counts)
    if not 0 < min(counts) <= most <= len(known):
        raise InputError(
            f"counts={counts} must lie between 1 and the {len(known)} known images that can be neighbours"
        )
    bank, answers = jnp.asarray(normalize_rows(known)), jnp.asarray(labels)

    @jax.jit
    def votes(queries: Float[Array, "block features"]) -> list[Array]:
        cosines, neighbours = jax.lax.top_k(queries @ bank.T, most)
        weights = jnp.exp((cosines - 1) / temperature)
        is_class = answers[neighbours][:, :, None] == jnp.arange(classes)[None, None]
        return [jnp.where(is_class[:, :k], weights[:, :k, None], 0.0).sum(axis=1) for k in counts]

    queries = normalize_rows(features)
    parts = []
    for first in range(0, len(queries), block):
        rows = queries[first : first + block]
        filled = np.pad(
            rows, ((0, block - len(rows)), (0, 0))
        )  # so that all blocks share one program
        parts.append([np.asarray(part)[: len(rows)] for part in votes(jnp.asarray(filled))])
    return {
        k: np.concatenate([part[i] for part in parts]) if parts else np.zeros((0, classes))
        for i, k in enumerate(counts)
    }


def nearest(known: Features, features: Features, count: int) -> Int[np.ndarray, "images count"]:
    """Finds the known images with the highest cosine similarity.

    Args:
      known: Features of the known images, `[known images, features]`.
      features: Features of the images whose neighbours are wanted, `[images, features]`.
      count: Number of neighbours.

    Returns:
      Row numbers in `known`, `[images, count]`, the nearest first.
    """
    cosines = jnp.asarray(normalize_rows(features)) @ jnp.asarray(normalize_rows(known)).T
    return np.asarray(jax.lax.top_k(cosines, count)[1])


def accuracy(scores: Scores, labels: Labels, top: int = 1) -> float:
    """Computes the fraction of the images whose label is among the classes with the highest scores.

    Another class with the same score as the label counts as higher, so that constant scores earn nothing.

    Args:
      scores: Scores of the classes, `[images, classes]`.
      labels: Labels, `[images]`.
      top: Number of classes with the highest scores.

    Returns:
      The accuracy; 0 if there are no images.
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    others = (scores >= own).sum(axis=1) - 1
    return float((others < top).mean()) if len(labels) else 0.0


def normalize_rows(features: Features) -> Features:
    """Divides each row of `features`, `[images, features]`, by its length; rows of zeros stay zero."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.maximum(lengths, 1e-12)).astype(np.float32)


def check_labels(features: Features, labels: Labels, classes: int) -> None:
    """Checks that features and labels can be used for fitting.

    Args:
      features: Features, `[images, features]`.
      labels: Labels, `[images]`.
      classes: Number of classes.

    Raises:
      InputError: Features are not finite, the numbers of features and labels differ, or a label is outside
        of 0 … classes - 1.
    """
    if not np.isfinite(features).all():
        raise InputError(
            "features are not finite; the run has diverged: take an earlier checkpoint"
        )
    if len(features) != len(labels):
        raise InputError(f"{len(features)} rows of features have {len(labels)} labels")
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise InputError(f"labels {labels.min()} to {labels.max()} are not 0 to {classes - 1}")
