"""Losses as slow, obvious loops over numbers, in float64: what the tests compare with."""

import math
from collections.abc import Sequence

import numpy as np


def log_sum_exp(numbers: Sequence[float]) -> float:
    top = max(numbers)
    return top + math.log(sum(math.exp(x - top) for x in numbers))


def cross_entropy(
    logits: Sequence[float], target: int, label_smoothing: float = 0.0, z_loss: float = 0.0
) -> float:
    log_sum = log_sum_exp(logits)
    loss = (1 - label_smoothing) * (log_sum - logits[target])
    for logit in logits:
        loss += label_smoothing / len(logits) * (log_sum - logit)
    return loss + z_loss * log_sum**2


def masked_lm(logits, targets, weights, normalize=True, **options) -> float:
    vocab = np.shape(logits)[-1]
    rows = np.asarray(logits, np.float64).reshape(-1, vocab)
    total = weight = 0.0
    for row, target, w in zip(rows, np.ravel(targets), np.ravel(weights), strict=True):
        if w > 0:
            total += float(w) * cross_entropy(list(row), int(target), **options)
            weight += float(w)
    if not normalize:
        return total
    return total / weight if weight else 0.0
