"""Microbatches on every topology, against the whole batch on one device."""

import pytest

from tests.losses import cases
from tests.losses.sums import (
    TOLERANCE,
    accumulated,
    batch_losses,
    cached,
    on_one_device,
    token_losses,
)
from tests.losses.topologies import TOPOLOGIES, gradients_on, programs, relative_error


@pytest.mark.slow
@pytest.mark.parametrize("uneven", [True, False])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_accumulated_microbatches(topology: str, count: int, uneven: bool) -> None:
    params, reference = on_one_device(token_losses, uneven)
    for result in programs(topology, accumulated, count)(params, cases.make_batch(uneven)):
        assert relative_error(result, reference) < TOLERANCE


QUICK = ("shard_map",)


@pytest.mark.parametrize("uneven", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("topology", "count"),
    [
        pytest.param(name, count, marks=() if name in QUICK and count == 2 else pytest.mark.slow)
        for name in TOPOLOGIES
        for count in (1, 2, 4, 8)
    ],
)
def test_cached_gradients(topology: str, count: int, uneven: bool) -> None:
    """The contrastive losses in two microbatches a device."""
    params, reference = on_one_device(batch_losses, uneven)
    for result in gradients_on(topology, cached, count)(params, cases.make_batch(uneven)):
        assert relative_error(result, reference) < TOLERANCE
