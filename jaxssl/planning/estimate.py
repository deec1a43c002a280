"""How long a step takes at best: a roofline over arithmetic, memory and links.

    step = max(FLOPs / peak, bytes of memory / its bandwidth, collectives that something hides)
           + collectives that nothing hides

Williams, Waterman & Patterson 2009. It is a bound, not a forecast: it knows neither launches nor
latencies, nor how well a kernel uses the units that it runs on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxssl.planning.collectives import Collective
from jaxssl.planning.targets import Target

ASSUMPTIONS = (
    "matrix products run at the dense bfloat16 peak; FLOPs are ours, 3 x forward, and a forward more "
    "where remat is full",
    "memory traffic is what the compiled program reads and writes outside its fusions and kernels, "
    "each once; the way to the host's memory and back takes no time",
    "a collective is a ring over the torus dimensions that its group spans, in both directions where "
    "they close; between slices or nodes, the network of each chip",
    "collectives that start before other work and end after it run beside it; all others stop the step",
)


@dataclass(frozen=True)
class Estimate:
    """Seconds of one step on one device, by what takes them."""

    arithmetic: float
    memory: float
    collectives: float  # all of them, one after another
    exposed: float  # of these, what nothing hides
    step: float
    utilisation: float  # model FLOPs (without recomputation) of all devices' peak
    bound_by: str
    units_per_second: float  # tokens, or images


def estimate(
    target: Target,
    devices: Sequence[Any],
    collectives: Sequence[Collective],
    *,
    flops: float,
    executed: float,
    traffic: float,
    units: int,
) -> Estimate | None:
    """`flops` and `executed` (with recomputation) of a whole step, `traffic` of one device.

    `devices` in the order of the mesh. None for CPUs, whose figures are in no data sheet.
    """
    chip = target.chip
    if chip is None:
        return None
    peak = chip.peak / chip.devices
    times = {
        "arithmetic": executed / len(devices) / peak,
        "memory": traffic / (chip.bandwidth / chip.devices),
    }
    all_of_them = [(c, c.sent / link_speed(c.group, devices, target)) for c in collectives]
    exposed = sum(seconds for c, seconds in all_of_them if not c.is_overlapped)
    whole = sum(seconds for _, seconds in all_of_them)
    step = max(*times.values(), whole - exposed) + exposed
    parts = {**times, "collectives": whole}
    return Estimate(
        **times,
        collectives=whole,
        exposed=exposed,
        step=step,
        utilisation=flops / (step * peak * len(devices)),
        bound_by=max(parts, key=lambda name: parts[name]),
        units_per_second=units / step,
    )


def link_speed(group: Sequence[int], devices: Sequence[Any], target: Target) -> float:
    """Bytes per second that each device of a group sends to the others of it."""
    chip = target.chip
    if chip is None:
        return math.inf
    members = [devices[place] for place in group]
    if not chip.is_tpu:
        crosses = len({device.process_index for device in members}) > 1
        return chip.network if crosses else chip.link
    if target.slices > 1 and len({device.slice_index for device in members}) > 1:
        return chip.network / chip.devices
    dimensions = 0.0
    for axis, size in enumerate(target.shape):
        spread = len({device.coords[axis] for device in members})
        if spread > 1:  # a permute to a neighbour has one in the other direction beside it
            closes = size % chip.ring == 0 and (spread == size or len(group) == 2)
            dimensions += 2 if closes else 1
    return chip.link * (dimensions or 2 * chip.sizes)  # no axis: two devices of one chip
