"""Refuses runs that cannot work before they are tried; the message has the reason and a way out."""

import dataclasses
import re
from typing import Any

from jaxssl.errors import InputError
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.planning.targets import Target
from jaxssl.sharding.mesh import across_slices
from jaxssl.training.config import Pretraining

GIB = 2**30
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Bytes needed and bytes available in the compilers' messages
TOO_MUCH = re.compile(r"([\d.]+)([KMGT])\)? (?:exceeds|of)[^\d]*([\d.]+)([KMGT])")


class DoesNotFit(InputError):
    """Raised if a step needs more memory than a device has."""


def networks(objective: Any) -> dict[str, TransformerConfig]:
    """Finds the networks of an objective.

    Args:
      objective: The objective, a dataclass.

    Returns:
      Their configurations by the name of the field or property that holds them. Networks inside a
      field have both names, such as "encoder.blocks" of a vision transformer.
    """
    found: dict[str, TransformerConfig] = {}
    fields = [field.name for field in dataclasses.fields(objective)]
    properties = [n for n, value in vars(type(objective)).items() if isinstance(value, property)]
    for name in fields + properties:
        value = getattr(objective, name)
        if isinstance(value, TransformerConfig) and (name in fields or value not in found.values()):
            found[name] = value
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = (
                (field.name, getattr(value, field.name)) for field in dataclasses.fields(value)
            )
            found |= {
                f"{name}.{of}": part for of, part in inner if isinstance(part, TransformerConfig)
            }
    return found


def largest_divisor(number: int, limit: int) -> int:
    """Returns the largest divisor of `number` that is at most `limit` (at least 1)."""
    return max(d for d in range(1, max(limit, 1) + 1) if number % d == 0)


def check_batch(config: Pretraining, sizes: dict[str, int]) -> None:
    """Checks that all devices of data x fsdp have equally many rows in each microbatch.

    Args:
      config: Configuration of the run.
      sizes: Number of devices on each mesh axis.

    Raises:
      InputError: They do not.
    """
    batch, ways = config.data.batch, sizes["data"] * sizes["fsdp"]
    axes = f"the {ways} devices of data x fsdp = {sizes['data']} x {sizes['fsdp']}"
    if batch < ways:
        raise InputError(
            f"batch {batch} is smaller than {axes}, which each need a row; set data.batch to {ways} or "
            "a multiple of it, or give devices to mesh.tensor"
        )
    if batch % ways:
        near = -(-batch // ways) * ways
        raise InputError(f"batch {batch} does not divide over {axes}; set data.batch to {near}")
    rows = batch // config.microbatches
    if rows % ways:
        fits = largest_divisor(batch // ways, config.microbatches)
        raise InputError(
            f"{config.microbatches} microbatches of a batch of {batch} have {rows} rows, which do not "
            f"divide over {axes}; set microbatches to {fits}"
        )


def check_heads(config: Pretraining, sizes: dict[str, int]) -> None:
    """Checks that attention heads are not split: their number must be divisible by the tensor axis.

    Args:
      config: Configuration of the run.
      sizes: Number of devices on each mesh axis.

    Raises:
      InputError: It is not divisible.
    """
    tensor = sizes["tensor"]
    for name, network in networks(config.objective).items():
        kinds = {"heads": network.heads, "kv_heads": network.kv_heads or network.heads}
        for kind, count in kinds.items():
            if count % tensor:
                raise InputError(
                    f"{name} has {count} {kind}, which do not divide over mesh axis tensor of "
                    f"{tensor}; set mesh.tensor to {largest_divisor(count, tensor)}"
                )


def check_slices(sizes: dict[str, int], target: Target) -> None:
    """Checks that the tensor axis stays within a slice, since each layer communicates along it.

    Args:
      sizes: Number of devices on each mesh axis.
      target: The devices.

    Raises:
      InputError: It crosses the slow network between slices.
    """
    *_, tensor = across_slices(list(sizes.values()), target.slices)
    if tensor > 1:
        raise InputError(
            f"mesh {'x'.join(map(str, sizes.values()))} spreads axis tensor over {tensor} slices of "
            f"{target.text}: each layer would wait for the network between them; set mesh.data to a "
            f"multiple of {target.slices}, or mesh.tensor to {sizes['tensor'] // tensor}"
        )


def check_state(state: int, config: Pretraining, sizes: dict[str, int], target: Target) -> None:
    """Checks that the training state alone fits into a device's memory.

    Args:
      state: Bytes of the state on one device.
      config: Configuration of the run.
      sizes: Number of devices on each mesh axis.
      target: The devices.

    Raises:
      InputError: It does not fit.
    """
    if state > target.memory:
        raise InputError(
            f"the state takes {state / GIB:.1f} GiB of a device, and {target.text} has "
            f"{target.memory / GIB:.1f}; {ways_out(config, sizes, target, state)}"
        )


def check_memory(
    total: float, state: int, config: Pretraining, sizes: dict[str, int], target: Target
) -> None:
    """Checks that a step fits into a device's memory.

    Args:
      total: Bytes that the step needs on one device.
      state: Bytes of the state among them.
      config: Configuration of the run.
      sizes: Number of devices on each mesh axis.
      target: The devices.

    Raises:
      DoesNotFit: It does not fit.
    """
    if total > target.memory:
        raise does_not_fit(total, target.memory, state, config, sizes, target)


def does_not_fit(
    needed: float,
    limit: float,
    state: int,
    config: Pretraining,
    sizes: dict[str, int],
    target: Target,
) -> DoesNotFit:
    """Returns the error to raise for a step that does not fit into a device's memory.

    Args:
      needed: Bytes that the step needs on one device.
      limit: Bytes that it may use.
      state: Bytes of the state among them.
      config: Configuration of the run.
      sizes: Number of devices on each mesh axis.
      target: The devices.
    """
    return DoesNotFit(
        f"a step needs {needed / GIB:.2f} GiB of a device ({state / GIB:.2f} of them state), and "
        f"{target.text} has {limit / GIB:.2f}; {ways_out(config, sizes, target, state)}"
    )


def memory_asked(message: str) -> tuple[float, float] | None:
    """Reads the bytes that a step needs, and those that there are, from a compiler's error.

    Args:
      message: Text of a RESOURCE_EXHAUSTED error.

    Returns:
      Both numbers; None if the message does not contain them.
    """
    found = TOO_MUCH.search(message)
    if found is None:
        return None
    return float(found[1]) * UNITS[found[2]], float(found[3]) * UNITS[found[4]]


def ways_out(config: Pretraining, sizes: dict[str, int], target: Target, state: int) -> str:
    """Returns what the user can change to make a step smaller, the cheapest change first.

    Args:
      config: Configuration of the run.
      sizes: Number of devices on each mesh axis.
      target: The devices.
      state: Bytes of the state on one device.
    """
    ways: list[str] = []
    rows = config.data.batch // (sizes["data"] * sizes["fsdp"])
    if state > target.memory / 2:
        if sizes["data"] > 1:
            ways.append(f"set mesh.fsdp to {sizes['fsdp'] * sizes['data']} and mesh.data to 1")
        else:
            ways.append("use more devices")
    more = [m for m in range(config.microbatches + 1, rows + 1) if rows % m == 0]
    if more and state <= target.memory:
        ways.append(f"set microbatches to {more[0]}")
    fields = {field.name for field in dataclasses.fields(config.objective)}
    for name, network in networks(config.objective).items():
        if (
            name.partition(".")[0] in fields
            and network.remat != "inputs"
            and state <= target.memory
        ):
            ways.append(f"set objective.{name}.remat to 'inputs'")
    return ", or ".join(ways) if ways else "set data.batch to less, or use more devices"
