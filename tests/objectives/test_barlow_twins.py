"""Barlow Twins against the correlation of two views written out."""

import dataclasses

import numpy as np
import pytest

from jaxssl.errors import InputError
from tests.objectives.learned_by_heart import check_learned
from tests.objectives.tiny_views import OBJECTIVES
from tests.objectives.two_views_by_hand import check_formula
from tests.tiny import tiny_image_spec


def test_is_the_formula(key):
    def loss(z, y, *_):
        a, b = ((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) for x in (z, y))
        correlation = a.T @ b / len(z)
        off = correlation[~np.eye(z.shape[1], dtype=bool)]
        return np.square(1 - np.diag(correlation)).sum() + 5e-3 * np.square(off).sum()

    check_formula("barlow_twins", key, loss)


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    check_learned(OBJECTIVES["barlow_twins"], tiny_image_spec(batch=8), 80, 3.0, 0.2)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"off_diagonal_weight": -1.0}, "off_diagonal_weight=-1.0 must be at least 0"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(OBJECTIVES["barlow_twins"], **changes)
