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


def logistic_loss(logit: float, is_true: bool) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return -math.log(probability if is_true else 1 - probability)


def weighted(numbers: Sequence[float], weights) -> float:
    pairs = list(zip(numbers, np.ravel(weights), strict=True))
    return sum(float(w) * x for x, w in pairs if w > 0) / sum(float(w) for _, w in pairs)


def cosine(x, y) -> float:
    x, y = np.float64(x), np.float64(y)
    return sum(x * y) / math.sqrt(sum(x * x) * sum(y * y))


def nt_xent(first, second, weights, temperature) -> float:
    count = len(first)
    rows = [*first, *second]
    used = [weights[i % count] > 0 for i in range(2 * count)]
    losses = []
    for i in range(2 * count):
        scores = {
            j: cosine(rows[i], rows[j]) / temperature
            for j in range(2 * count)
            if j != i and used[j]
        }
        partner = (i + count) % (2 * count)
        losses.append(log_sum_exp(list(scores.values())) - scores[partner] if used[i] else 0.0)
    return weighted(losses, [*weights, *weights])


def info_nce(queries, keys, weights, temperature, symmetric) -> float:
    count = len(queries)
    losses = []
    for i in range(count):
        own = cosine(queries[i], keys[i]) / temperature
        others = [j for j in range(count) if weights[j] > 0] or [i]
        across = [cosine(queries[i], keys[j]) / temperature for j in others]
        back = [cosine(queries[j], keys[i]) / temperature for j in others]
        loss = log_sum_exp(across) - own
        losses.append((loss + log_sum_exp(back) - own) / 2 if symmetric else loss)
    return weighted(losses, weights)


def sigmoid_contrastive(queries, keys, weights, temperature, bias) -> float:
    total = 0.0
    for i, query in enumerate(queries):
        for j, key in enumerate(keys):
            if weights[i] > 0 and weights[j] > 0:
                logit = cosine(query, key) / temperature + bias
                total += float(weights[i] + weights[j]) / 2 * logistic_loss(logit, i == j)
    return total / float(sum(weights))


def negative_sampling(centers, contexts, negatives, weights) -> float:
    losses = []
    for center, context, others in zip(
        *map(np.float64, (centers, contexts, negatives)), strict=True
    ):
        loss = logistic_loss(sum(center * context), True)
        losses.append(loss + sum(logistic_loss(sum(center * other), False) for other in others))
    return weighted(losses, weights)


def masked_reconstruction(predicted, target, weights, normalize_target) -> float:
    losses = []
    for guess, patch in zip(np.float64(predicted), np.float64(target), strict=True):
        if normalize_target:
            patch = (patch - patch.mean()) / math.sqrt(patch.var(ddof=1) + 1e-6)
        losses.append(sum((guess - patch) ** 2) / len(patch))
    return weighted(losses, weights)


def barlow_twins(first, second, weights, off_diagonal_weight) -> float:
    kept = [i for i, w in enumerate(weights) for _ in range(round(float(w)))]  # whole weights
    sides = []
    for rows in (np.float64(first)[kept], np.float64(second)[kept]):
        sides.append((rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-5))
    loss = 0.0
    for d in range(first.shape[1]):
        for e in range(first.shape[1]):
            entry = sum(sides[0][:, d] * sides[1][:, e]) / len(kept)
            loss += (1 - entry) ** 2 if d == e else off_diagonal_weight * entry**2
    return loss


def vicreg(first, second) -> float:
    first, second = np.float64(first), np.float64(second)
    dim = first.shape[1]
    loss = 25 * ((first - second) ** 2).mean()
    for rows in (first, second):
        covariance = np.cov(rows, rowvar=False, ddof=1).reshape(dim, dim)
        for d in range(dim):
            loss += 25 * max(0.0, 1 - math.sqrt(covariance[d, d] + 1e-4)) / dim / 2
            loss += sum(covariance[d, e] ** 2 for e in range(dim) if e != d) / dim
    return loss


def dino(student, teacher, center, weights, temperature, teacher_temperature) -> float:
    losses = []
    for row in range(student.shape[1]):
        total, count = 0.0, 0
        for t, wanted in enumerate(np.float64(teacher)[:, row]):
            scores = (wanted - np.float64(center)) / teacher_temperature
            shares = np.exp(scores - log_sum_exp(list(scores)))
            for s, guess in enumerate(np.float64(student)[:, row] / temperature):
                if s != t:
                    total -= sum(shares * (guess - log_sum_exp(list(guess))))
                    count += 1
        losses.append(total / count)
    return weighted(losses, weights)
