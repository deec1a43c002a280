"""Linear and neighbour probes against scikit-learn and loops; accuracies by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.tasks.probe import accuracy, fit, nearest, probe_linear, probe_neighbours


def blobs(seed=0, images=120, features=6, classes=3):
    """Classes that overlap, features of very different sizes."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, images)
    middles = np.random.default_rng(99).normal(0, 1.2, (classes, features))
    rows = middles[labels] + random.normal(size=(images, features))
    sizes = np.array([1.0, 10.0, 0.1, 3.0, 1.0, 50.0])
    return (rows * sizes + 5).astype(np.float32), labels


def test_accuracy_by_hand():
    scores = np.array([[0.1, 0.5, 0.4], [0.9, 0.05, 0.05], [0.2, 0.3, 0.5], [0.0, 0.0, 0.0]])
    labels = np.array([1, 2, 1, 0])
    assert accuracy(scores, labels) == pytest.approx(1 / 4)
    assert accuracy(scores, labels, top=2) == pytest.approx(2 / 4)  # equal scores tell nothing
    assert accuracy(scores[:3], labels[:3], top=3) == 1.0


def test_fit_is_multinomial_regression():
    """scikit-learn's optimum for C = 1 / (images x strength): probabilities to 1e-3."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    rows, labels = blobs()
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    for strength in (1e-1, 1e-3):
        start = (jnp.zeros((6, 3)), jnp.zeros(3))
        kernel, bias = fit(start, standard, labels, strength, 300, tolerance=1e-6)
        theirs = linear_model.LogisticRegression(
            C=1 / (len(rows) * strength), tol=1e-8, max_iter=999
        )
        expected = theirs.fit(standard, labels).predict_proba(standard)
        logits = standard @ np.asarray(kernel) + np.asarray(bias)
        found = np.exp(logits - logits.max(axis=1, keepdims=True))
        np.testing.assert_allclose(found / found.sum(axis=1, keepdims=True), expected, atol=1e-3)


@pytest.mark.slow
def test_probe_does_not_depend_on_units():
    """Features are standardised: scaled, moved and beside a constant one they give the same scores."""
    rows, labels = blobs()
    linear = probe_linear(rows, labels, 3)
    assert accuracy(linear.scores(rows), labels) > 0.7
    held_out, truth = blobs(seed=5)
    assert accuracy(linear.scores(held_out), truth) > 0.7
    moved = np.concatenate([rows * 7 - 20, np.full((len(rows), 1), 3.0)], axis=1).astype(np.float32)
    again = probe_linear(moved, labels, 3)
    assert again.strength == linear.strength
    np.testing.assert_allclose(again.scores(moved), linear.scores(rows), atol=2e-2)


def test_strength_is_chosen_where_features_are_noise():
    """30 images of 200 features, of which one tells: what is hardly held back learns the rest by heart."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 400)
    rows = random.normal(size=(400, 300)).astype(np.float32)
    rows[:, 0] += 2.0 * labels
    chosen = probe_linear(rows, labels, 2, strengths=(1.0, 1e-6))
    assert chosen.strength == 1.0


def test_neighbours_vote_as_in_a_loop():
    """Block by block as one by one; weights exp(cos / T)."""
    rows, labels = blobs(images=40)
    queries, _ = blobs(seed=1, images=11)
    found = probe_neighbours(rows, labels, queries, 3, counts=(1, 5, 40), block=4)
    units = rows.astype(np.float64) / np.linalg.norm(rows, axis=1, keepdims=True)
    for k, scores in found.items():
        for query, own in zip(queries.astype(np.float64), scores, strict=True):
            cosines = units @ (query / np.linalg.norm(query))
            expected = np.zeros(3)
            for place in np.argsort(-cosines)[:k]:
                expected[labels[place]] += np.exp((cosines[place] - 1) / 0.07)
            np.testing.assert_allclose(own, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(nearest(rows, rows[:7], 1)[:, 0], np.arange(7))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda rows, labels: probe_linear(rows, labels + 1, 3), "labels 1 to 3 are not 0 to 2"),
        (lambda rows, labels: probe_linear(rows[:9], labels[:9], 3), "9 images are too few"),
        (lambda rows, labels: probe_linear(rows, labels[:5], 3), "120 rows of features have 5"),
        (lambda rows, labels: probe_linear(rows * np.nan, labels, 3), "are not finite"),
        (
            lambda rows, labels: probe_neighbours(rows[:9], labels[:9], rows, 3, counts=(10,)),
            r"counts=\(10,\) must lie between 1 and the 9 known images",
        ),
    ],
)
def test_bad_input(call, line):
    with pytest.raises(InputError, match=line):
        call(*blobs())
