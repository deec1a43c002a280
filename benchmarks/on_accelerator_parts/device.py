"""The device that JAX has, in words and numbers."""

from typing import Any

import jax

from benchmarks.on_accelerator_parts.cases import BASE_MEMORY
from benchmarks.on_accelerator_parts.record import NotHere
from jaxssl.training.chips import CHIPS, device_peak


def describe_device(*, tiny: bool = False) -> dict[str, Any]:
    """Describes the devices of this machine, which are all of one kind.

    Args:
      tiny: Whether a CPU will do.

    Returns:
      Their kind, number, platform, peak in FLOP/s (None where it is not known) and memory in bytes.

    Raises:
      NotHere: There is no accelerator.
    """
    first = jax.devices()[0]
    if first.platform == "cpu" and not tiny:
        raise NotHere("JAX finds no accelerator on this machine; --tiny runs on a CPU")
    return {
        "kind": first.device_kind,
        "count": jax.device_count(),
        "platform": first.platform,
        "peak": None if first.platform == "cpu" else device_peak(first.device_kind),
        "memory": memory_of(first),
    }


def memory_of(device: Any) -> float:
    """Returns the bytes of a device's memory: of the data sheet, as JAX tells, or else those of 80 GB."""
    for chip in CHIPS:
        if chip.kind in device.device_kind:
            return chip.memory / chip.devices
    return (device.memory_stats() or {}).get("bytes_limit", BASE_MEMORY)
