"""Microbatches on every topology, against the whole batch on one device."""

from functools import partial

import jax
import pytest
from jax.sharding import PartitionSpec

from tests.losses import cases
from tests.losses.sums import (
    TOLERANCE,
    accumulated,
    batch_losses,
    cached,
    on_one_device,
    token_losses,
)
from tests.losses.topologies import (
    AXIS,
    TOPOLOGIES,
    fast_to_compile,
    mesh_of,
    programs,
    relative_error,
)


@pytest.mark.slow
@pytest.mark.parametrize("uneven", [True, False])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_accumulated_microbatches(topology: str, count: int, uneven: bool) -> None:
    params, reference = on_one_device(token_losses, uneven)
    for result in programs(topology, accumulated, count)(params, cases.make_batch(uneven)):
        assert relative_error(result, reference) < TOLERANCE


@pytest.mark.parametrize("check_vma", [True, False])
def test_cached_gradients_on_devices(check_vma: bool) -> None:
    """Inside shard_map, on 8 devices."""
    cut, whole = PartitionSpec(AXIS), PartitionSpec()
    mapped = jax.shard_map(
        partial(cached, axis_name=AXIS),
        mesh=mesh_of(8),
        in_specs=(whole, cut),
        out_specs=whole,
        check_vma=check_vma,
    )
    params, reference = on_one_device(batch_losses, uneven=True)
    result = fast_to_compile(mapped)(params, cases.make_batch(uneven=True))
    assert relative_error(result, reference) < TOLERANCE
