"""Scores against constants worked out by hand."""

import math

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.tasks.scores import check_metric, confusion, scores, spearman


def of(counts):
    """Labels and predictions that have this table of counts."""
    pairs = [
        (i, j) for i, row in enumerate(counts) for j, count in enumerate(row) for _ in range(count)
    ]
    labels, predictions = np.array(pairs).T
    return scores(labels, predictions, len(counts))


def test_two_classes():
    """tn 50, fp 10, fn 5, tp 35: precision 35/45, recall 35/40."""
    found = of([[50, 10], [5, 35]])
    assert found["accuracy"] == pytest.approx(0.85)
    assert found["f1"] == pytest.approx(70 / 85)
    assert found["f1_macro"] == pytest.approx((70 / 85 + 100 / 115) / 2)
    mcc = (35 * 50 - 10 * 5) / math.sqrt(45 * 40 * 60 * 55)
    assert found["mcc"] == pytest.approx(mcc)


def test_three_classes():
    """Rows are labels: 2 of 4, 3 of 3 and 1 of 3 are right."""
    found = of([[2, 1, 1], [0, 3, 0], [0, 2, 1]])
    assert found["accuracy"] == pytest.approx(0.6)
    f1 = (4 / (4 + 2) + 6 / (3 + 6) + 2 / (3 + 2)) / 3
    assert found["f1_macro"] == pytest.approx(f1)
    # c = 6, s = 10, t = (4, 3, 3), p = (2, 6, 2): (60 - 32) / sqrt((100 - 44) (100 - 34))
    assert found["mcc"] == pytest.approx(28 / math.sqrt(56 * 66))
    assert "f1" not in found


@pytest.mark.parametrize(("table", "mcc"), [([[3, 0], [0, 4]], 1.0), ([[0, 3], [4, 0]], -1.0)])
def test_all_right_and_all_wrong(table, mcc):
    assert of(table)["mcc"] == pytest.approx(mcc)


def test_constant_predictions_have_no_correlation_and_no_nan():
    found = of([[6, 0], [4, 0]])
    assert found == {"accuracy": 0.6, "f1_macro": pytest.approx(0.375), "mcc": 0.0, "f1": 0.0}


def test_a_class_that_never_occurs_does_not_count_for_macro_f1():
    labels = predictions = np.array([0, 0, 2])
    assert scores(labels, predictions, 3)["f1_macro"] == 1.0


def test_nothing_to_score():
    empty = np.zeros(0, np.int64)
    assert set(scores(empty, empty, 3).values()) == {0.0}


def test_rejects_what_is_no_class():
    with pytest.raises(ValueError, match="0 … 1"):
        confusion(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="must match"):
        confusion(np.array([0, 1]), np.array([0]), 2)
    with pytest.raises(InputError, match="accuracy, f1_macro, mcc, loss, f1"):
        check_metric("acc", 2)
    with pytest.raises(InputError, match="which 3 classes have"):
        check_metric("f1", 3)


def test_spearman_by_hand():
    """Ranks 1, 2.5, 2.5, 4 against 2, 1, 3, 4: centred products 3 over sqrt(4.5 * 5)."""
    found = spearman(np.array([0.1, 7.0, 7.0, 9.0]), np.array([2.0, 1.0, 3.0, 40.0]))
    assert found == pytest.approx(3 / np.sqrt(22.5))
    rising = np.arange(6.0)
    assert spearman(rising, np.exp(rising)) == pytest.approx(1.0)
    assert spearman(rising, -rising) == pytest.approx(-1.0)
    assert spearman(rising, np.ones(6)) == 0.0
    with pytest.raises(ValueError, match="must match"):
        spearman(rising, rising[:3])
