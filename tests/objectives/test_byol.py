"""BYOL against the distance to a teacher's projections of the other view."""

import dataclasses

import pytest

from jaxssl.errors import InputError
from tests.objectives.learned_by_heart import check_learned
from tests.objectives.tiny_views import OBJECTIVES
from tests.objectives.two_views_by_hand import check_formula, cosine
from tests.tiny import tiny_image_spec


def test_is_the_formula(key):
    def loss(z, y, p, q, t, s):
        return (4 - 2 * cosine(p, s) - 2 * cosine(q, t)).mean()

    check_formula("byol", key, loss)


@pytest.mark.slow
def test_one_batch_is_learned_by_heart():
    check_learned(OBJECTIVES["byol"], tiny_image_spec(batch=8), 80, 2.0, 0.2)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"predictor": (4, 9)}, r"predictor=\(4, 9\) must end with 8"),
        ({"predictor": ()}, r"predictor=\(\) must be the widths"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(OBJECTIVES["byol"], **changes)
