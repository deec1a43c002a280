"""The roofline and the speed of links, by hand."""

import dataclasses

from jaxssl.planning.estimate import estimate, link_speed
from jaxssl.planning.targets import read_target


@dataclasses.dataclass(frozen=True)
class Device:
    coords: tuple[int, ...]
    process_index: int = 0
    slice_index: int = 0


def test_speed_of_links():
    """A 16 x 16 torus closes in both directions, a 4 x 4 slice of it does not."""
    pod = read_target("v5e:16x16")
    grid = [Device((i, j, 0)) for i in range(16) for j in range(16)]
    assert link_speed(range(16), grid, pod) == 2 * 5e10
    assert link_speed(range(256), grid, pod) == 4 * 5e10
    part = read_target("v5e:4x4")
    grid = [Device((i, j, 0)) for i in range(4) for j in range(4)]
    assert link_speed(range(4), grid, part) == 5e10
    slices = read_target("v5e:4x4", 2)
    grid += [dataclasses.replace(device, slice_index=1) for device in grid]
    assert link_speed([0, 16], grid, slices) == 3.125e9
    nodes = read_target("h100:2x8")
    grid = [Device((), process_index=i // 8) for i in range(16)]
    assert link_speed(range(8), grid, nodes) == 4.5e11
    assert link_speed([7, 8], grid, nodes) == 5e10


def test_roofline_by_hand():
    """1.97e14 FLOPs on one chip take a second; so do 0.819 TB of memory."""
    target = read_target("v5e:1x1")
    of = {"flops": 0.5 * 197e12, "executed": 197e12, "units": 1000}
    found = estimate(target, [Device((0, 0, 0))], [], traffic=0.25 * 0.819e12, **of)
    assert (found.step, found.memory, found.bound_by) == (1.0, 0.25, "arithmetic")
    assert (found.utilisation, found.units_per_second) == (0.5, 1000)
    found = estimate(target, [Device((0, 0, 0))], [], traffic=2 * 0.819e12, **of)
    assert (found.step, found.bound_by, found.utilisation) == (2.0, "memory", 0.25)
