"""Configurations of a finetuning that cannot be, each refused in one line."""

import math

import pytest

from jaxssl.data.labelled.tables import Labelled
from jaxssl.errors import InputError
from jaxssl.finetuning.setup import Finetuning
from jaxssl.tasks.classify import Classify

HUGE = 99_999_999_999_999_999_999


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": math.nan}, "epochs=nan must be above 0"),
        ({"epochs": math.inf}, "epochs=inf must be above 0 and at most"),
        ({"epochs": 1e18}, "epochs=1e.18 must be above 0 and at most 100,000"),
        ({"epochs": -1.0}, "epochs=-1.0 must be above 0"),
        ({"steps": -1}, "steps=-1 and evaluate_every=0 must be from 0"),
        ({"steps": HUGE}, f"steps={HUGE} and"),
        ({"evaluate_every": -1}, "evaluate_every=-1 must be from 0"),
        ({"batch": 10**9}, "batch=1000000000 and evaluate_batch=256 must be at most 1,048,576"),
        ({"batch": 0}, "batch=0 must be at least 1"),
        ({"batch": 8, "microbatches": 3}, "cannot be cut into 3 microbatches"),
        ({"seeds": ()}, "must be different numbers"),
        ({"seeds": (1, 1)}, "must be different numbers"),
        ({"seeds": (HUGE,)}, "must be different numbers from 0 to 2,147,483,647"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(InputError, match=message):
        Finetuning(Labelled("train.tsv"), Classify("run"), **changes)
