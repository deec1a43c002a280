"""How devices are arranged as a mesh, and which rows their hosts read; no such devices are needed."""

from dataclasses import dataclass
from itertools import product

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.sharding.mesh import Mesh, across_slices, arrange_devices, batch_sharding, rows_of_hosts
from jaxssl.training.step import place_batch


@dataclass(frozen=True)
class Chip:
    """What JAX knows of a device of a TPU slice whose hosts have 2 x 2 chips."""

    id: int
    coords: tuple[int, int, int]
    slice_index: int
    process_index: int
    core_on_chip: int = 0
    platform: str = "tpu"
    device_kind: str = "TPU v5 lite"


def slices(count, *sides):
    """Devices of `count` slices."""
    x, y, *z = sides
    places = list(product(range(x), range(y), range(*z or (1,))))
    hosts = {place: (place[0] // 2, place[1] // 2, place[2]) for place in places}
    order = sorted(set(hosts.values()))
    return [
        Chip(s * len(places) + n, place, s, s * len(order) + order.index(hosts[place]))
        for s in range(count)
        for n, place in enumerate(places)
    ]


@pytest.mark.parametrize(
    ("sizes", "slices", "spans"),
    [
        ((8, 1, 1), 2, [2, 1, 1]),
        ((4, 6, 1), 6, [2, 3, 1]),
        ((1, 32, 1), 2, [1, 2, 1]),
        ((1, 1, 8), 2, [1, 1, 2]),
        ((6, 2, 3), 4, [2, 2, 1]),
    ],
)
def test_slices_are_laid_along_the_first_axes(sizes, slices, spans):
    assert across_slices(sizes, slices) == spans


@pytest.mark.parametrize("sizes", [(4, 4, 2), (2, 16, 1), (2, 1, 16)])
def test_each_part_of_data_stays_in_one_slice(sizes):
    """Both slices are full before data goes on: fsdp and tensor never leave one."""
    grid = arrange_devices(slices(2, 4, 4), sizes)
    assert grid.shape == sizes
    assert len({device.id for device in grid.flat}) == 32
    of_data = [{device.slice_index for device in row.flat} for row in grid]
    assert of_data == [{0}] * (sizes[0] // 2) + [{1}] * (sizes[0] // 2)


def test_fsdp_goes_across_where_data_cannot():
    grid = arrange_devices(slices(2, 4, 4), (1, 32, 1))
    assert [device.slice_index for device in grid.flat] == [0] * 16 + [1] * 16


@pytest.mark.parametrize("sizes", [(8, 2, 4), (4, 8, 2), (16, 4, 1), (1, 2, 32)])
def test_a_side_of_the_torus_is_split(sizes):
    """4 x 4 x 4 chips: those of the axis that exchanges most stand in a box without holes."""
    grid = arrange_devices(slices(1, 4, 4, 4), sizes)
    assert len({device.id for device in grid.flat}) == 64
    line = grid[0, 0] if sizes[2] > 1 else grid[0, :, 0]
    assert np.prod(np.ptp([device.coords for device in line], axis=0) + 1) == len(line)


def test_slices_that_are_not_alike():
    with pytest.raises(InputError, match="the 2 slices have 16, 12 devices"):
        arrange_devices(slices(2, 4, 4)[:-4], (7, 2, 2))


def test_hosts_of_one_tensor_axis_read_the_same_rows():
    """16 chips, 4 hosts of 2 x 2; tensor takes whole rows of the torus, so two hosts share each."""
    grid = jax.sharding.Mesh(
        arrange_devices(slices(1, 4, 4), (4, 1, 4)), ("data", "fsdp", "tensor")
    )
    rows = rows_of_hosts(grid, 8)
    assert sorted(map(str, rows.values())) == ["[range(0, 4)]"] * 2 + ["[range(4, 8)]"] * 2
    whole = jax.sharding.Mesh(
        arrange_devices(slices(1, 4, 4), (1, 1, 16)), ("data", "fsdp", "tensor")
    )
    assert rows_of_hosts(whole, 8) == dict.fromkeys(range(4), [range(8)])
    apart = jax.sharding.Mesh(
        arrange_devices(slices(1, 4, 4), (16, 1, 1)), ("data", "fsdp", "tensor")
    )
    read = rows_of_hosts(apart, 32)
    assert len(read[0]) > 1  # the ring of 16 passes by the chips of a host several times
    everything = sorted(row for parts in read.values() for part in parts for row in part)
    assert everything == list(range(32))
    with pytest.raises(InputError, match="batch 8 does not divide over the 16 devices"):
        rows_of_hosts(apart, 8)


@pytest.mark.parametrize("mesh", [Mesh(8), Mesh(2, 2, 2), Mesh(1, 1, 8)])
def test_a_batch_lies_as_it_was_read(mesh):
    grid, rows = mesh.make(), np.arange(16 * 4).reshape(16, 4)
    assert rows_of_hosts(grid, 16) == {0: [range(16)]}
    placed = place_batch({"tokens": rows}, batch_sharding(grid))["tokens"]
    np.testing.assert_array_equal(placed, rows)
    assert placed.sharding == batch_sharding(grid)


@pytest.mark.parametrize(
    ("devices", "batch", "near"), [(3, 16, 18), (8, 12, 16), (8, 4, 8), (5, 64, 65)]
)
def test_a_batch_that_does_not_divide_has_two_ways_out(devices, batch, near):
    """The larger batch fits, in a run that has begun with `change_batch`; and so do fewer devices."""
    mesh = Mesh(data=devices).make(jax.devices()[:devices])
    told = rf"set data\.batch to {near} \(with change_batch in a run that has begun with {batch}\), or use"
    with pytest.raises(
        InputError, match=f"batch {batch} does not divide over the {devices} .*{told}"
    ):
        rows_of_hosts(mesh, batch)
    assert rows_of_hosts(mesh, near) == {0: [range(near)]}
    assert rows_of_hosts(Mesh().make(jax.devices()[:1]), batch) == {0: [range(batch)]}
