"""Checks of fields: which values pass, and what the message says."""

from types import SimpleNamespace

import pytest

from jaxssl.errors import InputError, check_above, check_at_least, check_choice, check_share


def test_at_least_and_above():
    fields = SimpleNamespace(one=1, half=0.5, none=None)
    check_at_least(fields, 1, "one", "none")
    check_above(fields, 0, "one", "half", "none")
    with pytest.raises(InputError, match="^half=0.5 must be at least 1$"):
        check_at_least(fields, 1, "one", "half")
    with pytest.raises(InputError, match="^one=1 must be above 1$"):
        check_above(fields, 1, "one")
    for check in (check_at_least, check_above):
        with pytest.raises(InputError, match="rate=nan must be"):
            check(SimpleNamespace(rate=float("nan")), 0, "rate")


@pytest.mark.parametrize(
    ("options", "allowed", "refused", "limits"),
    [
        ({}, (0, 0.5), (1, -0.1, 1.1), "at least 0 and below 1"),
        ({"one": True}, (0, 0.5, 1), (-0.1, 1.1), "at least 0 and at most 1"),
        ({"zero": False}, (0.5,), (0, 1), "above 0 and below 1"),
        ({"zero": False, "one": True}, (0.5, 1), (0, 2), "above 0 and at most 1"),
        ({}, (None,), (float("nan"),), "at least 0 and below 1"),
    ],
)
def test_shares(options, allowed, refused, limits):
    for value in allowed:
        check_share(SimpleNamespace(rate=value), "rate", **options)
    for value in refused:
        with pytest.raises(InputError, match=f"^rate={value} must be {limits}$"):
            check_share(SimpleNamespace(rate=value), "rate", **options)


def test_choices():
    fields = SimpleNamespace(pooling="cls")
    check_choice(fields, "pooling", ("mean", "cls"))
    with pytest.raises(InputError, match="^pooling='cls' is unknown; use mean, last or first$"):
        check_choice(fields, "pooling", ("mean", "last", "first"))
