"""VICReg against invariance, variance and covariance written out."""

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
        total, width = 25 * np.square(z - y).mean(), z.shape[1]
        for x in (z, y):
            covariance = np.cov(x.T)
            total += 25 * np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean() / 2
            total += np.square(covariance[~np.eye(width, dtype=bool)]).sum() / width
        return total

    check_formula("vicreg", key, loss)


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    check_learned(OBJECTIVES["vicreg"], tiny_image_spec(batch=8), 80, 20.0, 5.0)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"variance_weight": -1.0}, "variance_weight=-1.0 must be at least 0"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(OBJECTIVES["vicreg"], **changes)
