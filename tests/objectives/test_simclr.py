"""SimCLR against the softmax over all other views."""

import dataclasses

import numpy as np
import pytest

from jaxssl.errors import InputError
from tests.objectives.learned_by_heart import check_learned
from tests.objectives.tiny_views import OBJECTIVES
from tests.objectives.two_views_by_hand import check_formula, unit
from tests.tiny import tiny_image_spec


def test_is_the_formula(key):
    def loss(z, y, *_):
        rows = len(z)
        views = unit(np.concatenate([z, y]))
        scores = np.exp(views @ views.T / 0.1) * ~np.eye(2 * rows, dtype=bool)
        partner = np.roll(np.arange(2 * rows), rows)
        return -np.log(scores[np.arange(2 * rows), partner] / scores.sum(axis=1)).mean()

    check_formula("simclr", key, loss)


def test_one_batch_is_learned_by_heart():
    check_learned(OBJECTIVES["simclr"], tiny_image_spec(batch=8), 80, 1.5, 0.2)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"temperature": 0.0}, "temperature=0.0 must be above 0"),
        ({"projector": ()}, r"projector=\(\) must be the widths"),
        ({"block_size": 0}, "block_size=0 must be at least 1"),
    ],
)
def test_bad_fields(changes, line):
    with pytest.raises(InputError, match=line):
        dataclasses.replace(OBJECTIVES["simclr"], **changes)
