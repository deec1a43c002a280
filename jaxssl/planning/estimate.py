"""Estimates the shortest possible time of a step: a roofline over arithmetic, memory and links.

    step = max(FLOPs / peak, bytes of memory / bandwidth, overlapped collectives) + other collectives

This is a lower bound, not a forecast: it ignores launch overhead and latencies, and assumes that kernels
use the hardware fully.

References:
  Williams, Waterman & Patterson 2009, "Roofline: an insightful visual performance model for multicore
  architectures".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxssl.planning.collectives import Collective
from jaxssl.planning.targets import Target

ASSUMPTIONS = (
    "matrix products run at the dense bfloat16 peak; they count 3 times where gradients flow through "
    "them (4 times where remat is inputs), and once elsewhere",
    "memory traffic is what the compiled program reads and writes outside its fusions and kernels, "
    "each once; copies to the host's memory and back take no time",
    "a collective is a ring over the torus dimensions that its group spans, in both directions where "
    "they close; between slices or nodes, it uses the network of each chip",
    "collectives that start before other work and end after it are overlapped; all others stop the step",
)


@dataclass(frozen=True)
class Estimate:
    """The shortest possible time of a step, and its parts."""

    arithmetic: float
    """Seconds of matrix products, with recomputation."""
    memory: float
    """Seconds of memory traffic."""
    collectives: float
    """Seconds of all collectives, one after another."""
    exposed: float
    """Seconds of the collectives that are not overlapped with other work."""
    step: float
    """Seconds of the whole step."""
    utilisation: float
    """Model FLOPs (without recomputation) as a fraction of what all devices could do in `step`."""
    bound_by: str
    """What takes longest: "arithmetic", "memory" or "collectives"."""
    units_per_second: float
    """Tokens or images per second, of all devices together."""


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
    """Estimates the shortest possible time of a step.

    Args:
      target: The devices to plan for.
      devices: The devices in the order of the flattened mesh.
      collectives: The collectives of the compiled step.
      flops: FLOPs of a step on all devices, without recomputation.
      executed: FLOPs of a step on all devices, with recomputation.
      traffic: Bytes that one device reads from and writes to its memory in a step.
      units: Tokens or images of a step.

    Returns:
      The estimate; None for CPUs, whose peaks are not in data sheets.
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
    """Returns the bytes per second that each device of a group can send to the others.

    Args:
      group: Positions of the devices in `devices`.
      devices: The devices in the order of the flattened mesh.
      target: The devices to plan for; infinite speed is returned for CPUs.
    """
    chip = target.chip
    if chip is None:
        return math.inf
    members = [devices[position] for position in group]
    if not chip.is_tpu:
        crosses = len({device.process_index for device in members}) > 1
        return chip.network if crosses else chip.link
    if target.slices > 1 and len({device.slice_index for device in members}) > 1:
        return chip.network / chip.devices
    dimensions = 0.0
    for axis, size in enumerate(target.shape):
        spread = len({device.coords[axis] for device in members})
        if spread > 1:  # a permute to a neighbour is accompanied by one in the other direction
            closes = size % chip.ring == 0 and (spread == size or len(group) == 2)
            dimensions += 2 if closes else 1
    return chip.link * (dimensions or 2 * chip.sizes)  # no axis differs: two devices of one chip
