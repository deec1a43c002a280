"""Scores of a classifier from its confusion matrix C: C[i, j] examples of class i were predicted as class j.

Shapes: labels and predictions int `[examples]`, values 0 … classes - 1; confusion matrix int
`[classes, classes]`. All scores are plain floats.
"""

import numpy as np
from jaxtyping import Float, Int

from jaxssl.errors import InputError

Labels = Int[np.ndarray, "examples"]
Counts = Int[np.ndarray, "classes classes"]

LOWER_IS_BETTER = ("loss",)  # metrics whose lowest value is the best


def confusion(labels: Labels, predictions: Labels, classes: int) -> Counts:
    """Counts the confusion matrix.

    Args:
      labels: True classes, `[examples]`.
      predictions: Predicted classes, `[examples]`.
      classes: Number of classes.

    Returns:
      Confusion matrix, `[classes, classes]`; rows are true classes, columns predicted ones.

    Raises:
      ValueError: The arrays differ in shape, or a class is outside of 0 … classes - 1.
    """
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and predictions {predictions.shape} must match")
    both = np.stack([labels, predictions])
    if both.size and not 0 <= both.min() <= both.max() < classes:
        raise ValueError(f"classes {both.min()} … {both.max()} are not all in 0 … {classes - 1}")
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


def accuracy(counts: Counts) -> float:
    """Computes the fraction of the examples that are predicted correctly; 0 if there are none.

    `counts` is the confusion matrix, `[classes, classes]`.
    """
    return _ratio(np.trace(counts), counts.sum())


def f1_by_class(counts: Counts) -> Float[np.ndarray, "classes"]:
    """Computes the F1 of every class against the rest, the harmonic mean of precision and recall.

        F1 = 2 tp / (2 tp + fp + fn)

    with true positives tp, false positives fp and false negatives fn of the class.

    Args:
      counts: Confusion matrix, `[classes, classes]`.

    Returns:
      F1 of each class, `[classes]`; 0 for a class that is neither a label nor a prediction.

    References:
      van Rijsbergen 1979, "Information retrieval", chapter 7.
    """
    right = np.diag(counts)
    occurring = counts.sum(axis=0) + counts.sum(axis=1)  # (tp + fp) + (tp + fn)
    return np.where(occurring > 0, 2 * right / np.maximum(occurring, 1), 0.0)


def f1_macro(counts: Counts) -> float:
    """Computes the mean of the F1 of every class that is a label or a prediction of some example.

    `counts` is the confusion matrix, `[classes, classes]`. 0 if there are no examples.
    """
    occurs = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    return float(f1_by_class(counts)[occurs].mean()) if occurs.any() else 0.0


def matthews(counts: Counts) -> float:
    """Computes the Matthews correlation coefficient of labels and predictions, from -1 to 1.

        (c s - sum_k p_k t_k) / sqrt((s^2 - sum_k p_k^2) (s^2 - sum_k t_k^2))

    with s examples, c of them predicted correctly, t_k labels and p_k predictions of class k.

    Args:
      counts: Confusion matrix, `[classes, classes]`.

    Returns:
      The coefficient; 0 if labels or predictions are constant.

    References:
      Matthews 1975 for two classes, Gorodkin 2004 for more.
    """
    table = counts.astype(np.float64)
    total, right = table.sum(), np.trace(table)
    labels, predictions = table.sum(axis=1), table.sum(axis=0)
    spread = (total**2 - predictions @ predictions) * (total**2 - labels @ labels)
    return _ratio(right * total - labels @ predictions, np.sqrt(spread))


def scores(
    labels: Labels, predictions: Labels, classes: int, *, positive: int = 1
) -> dict[str, float]:
    """Computes all scores of a classifier.

    Args:
      labels: True classes, `[examples]`.
      predictions: Predicted classes, `[examples]`.
      classes: Number of classes.
      positive: Class that "f1" is of.

    Returns:
      "accuracy", "f1_macro" and "mcc" (Matthews correlation); with two classes also "f1", that of the class
      `positive`.

    Raises:
      ValueError: The arrays differ in shape, or a class is outside of 0 … classes - 1.
    """
    counts = confusion(labels, predictions, classes)
    found = {
        "accuracy": accuracy(counts),
        "f1_macro": f1_macro(counts),
        "mcc": matthews(counts),
    }
    return found | ({"f1": float(f1_by_class(counts)[positive])} if classes == 2 else {})


def spearman(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """Computes the rank correlation of two arrays of numbers (Spearman 1904), from -1 to 1.

    Equal values share their mean rank.

    Args:
      first: Numbers, `[n]`.
      second: Numbers in the same order, `[n]`.

    Returns:
      The correlation; 0 if one of the arrays is constant.

    Raises:
      ValueError: The arrays differ in shape.
    """
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"values {first.shape} and {second.shape} must match")
    ranks = np.stack([_mean_ranks(first), _mean_ranks(second)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centred).sum(axis=1).prod())
    return _ratio(centred[0] @ centred[1], spread)


def _mean_ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[inverse]


def check_metric(name: str, classes: int) -> None:
    """Raises InputError unless `name` is "loss" or a metric that `scores` computes for so many `classes`."""
    names = ["accuracy", "f1_macro", "mcc", "loss"] + (["f1"] if classes == 2 else [])
    if name not in names:
        raise InputError(
            f"metric {name!r} is none of {', '.join(names)}, which {classes} classes have"
        )


def _ratio(total: float, count: float) -> float:
    return float(total / count) if count else 0.0
