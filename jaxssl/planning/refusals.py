"""What cannot work, said before it is tried: the reason, and a way out."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import jax

from jaxssl.errors import InputError
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.planning.collectives import Collective
from jaxssl.planning.program_text import Program
from jaxssl.planning.targets import Target
from jaxssl.sharding.layout import path_of
from jaxssl.sharding.mesh import across_slices
from jaxssl.training.config import Pretraining

GIB = 2**30
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
TOO_MUCH = re.compile(r"([\d.]+)([KMGT])\)? (?:exceeds|of)[^\d]*([\d.]+)([KMGT])")


class DoesNotFit(InputError):
    """A step needs more memory than a device has."""


def networks(objective: Any) -> dict[str, TransformerConfig]:
    """The networks of an objective by the field that holds them or the property that makes them.

    Also those within a field, as the blocks of a vision transformer: `encoder.blocks`.
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
    return max(d for d in range(1, max(limit, 1) + 1) if number % d == 0)


def check_batch(config: Pretraining, sizes: dict[str, int]) -> None:
    """Every device of data x fsdp needs as many rows as any other, in every microbatch."""
    batch, ways = config.data.batch, sizes["data"] * sizes["fsdp"]
    axes = f"the {ways} devices of data x fsdp = {sizes['data']} x {sizes['fsdp']}"
    if batch < ways:
        raise InputError(
            f"batch {batch} is smaller than {axes}, which each need a row; pass --data.batch {ways} "
            "or a multiple of it, or give devices to --mesh.tensor"
        )
    if batch % ways:
        near = -(-batch // ways) * ways
        raise InputError(f"batch {batch} does not divide over {axes}; pass --data.batch {near}")
    rows = batch // config.microbatches
    if rows % ways:
        fits = largest_divisor(batch // ways, config.microbatches)
        raise InputError(
            f"{config.microbatches} microbatches of a batch of {batch} have {rows} rows, which do not "
            f"divide over {axes}; pass --microbatches {fits}"
        )


def check_heads(config: Pretraining, sizes: dict[str, int]) -> None:
    """A head of attention stays on one device."""
    tensor = sizes["tensor"]
    for name, network in networks(config.objective).items():
        kinds = {"heads": network.heads, "kv_heads": network.kv_heads or network.heads}
        for kind, count in kinds.items():
            if count % tensor:
                raise InputError(
                    f"{name} has {count} {kind}, which do not divide over mesh axis tensor of "
                    f"{tensor}; pass --mesh.tensor {largest_divisor(count, tensor)}"
                )


def check_slices(sizes: dict[str, int], target: Target) -> None:
    """Within a layer nothing may cross the slow network between slices."""
    *_, tensor = across_slices(list(sizes.values()), target.slices)
    if tensor > 1:
        raise InputError(
            f"mesh {'x'.join(map(str, sizes.values()))} lays axis tensor over {tensor} slices of "
            f"{target.text}: every layer would wait for the network between them; pass a --mesh.data "
            f"that is a multiple of {target.slices}, or --mesh.tensor {sizes['tensor'] // tensor}"
        )


def check_state(state: int, config: Pretraining, sizes: dict[str, int], target: Target) -> None:
    """The state alone must leave room; `state` is its bytes on one device."""
    if state > target.memory:
        raise InputError(
            f"the state takes {state / GIB:.1f} GiB of a device and {target.text} has "
            f"{target.memory / GIB:.1f}; {ways_out(config, sizes, target, state)}"
        )


def check_memory(
    total: float, state: int, config: Pretraining, sizes: dict[str, int], target: Target
) -> None:
    """Raises InputError where a step needs more than a device has."""
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
    return DoesNotFit(
        f"a step needs {needed / GIB:.2f} GiB of a device ({state / GIB:.2f} of them state) and "
        f"{target.text} has {limit / GIB:.2f}; {ways_out(config, sizes, target, state)}"
    )


def memory_asked(message: str) -> tuple[float, float] | None:
    """Bytes that a compiler asked for and those that there are, out of its RESOURCE_EXHAUSTED."""
    found = TOO_MUCH.search(message)
    if found is None:
        return None
    return float(found[1]) * UNITS[found[2]], float(found[3]) * UNITS[found[4]]


def ways_out(config: Pretraining, sizes: dict[str, int], target: Target, state: int) -> str:
    """What makes a step smaller, the cheapest first."""
    ways: list[str] = []
    rows = config.data.batch // (sizes["data"] * sizes["fsdp"])
    if state > target.memory / 2:
        if sizes["data"] > 1:
            ways.append(f"--mesh.fsdp {sizes['fsdp'] * sizes['data']} --mesh.data 1")
        else:
            ways.append("more devices")
    more = [m for m in range(config.microbatches + 1, rows + 1) if rows % m == 0]
    if more and state <= target.memory:
        ways.append(f"--microbatches {more[0]}")
    fields = {field.name for field in dataclasses.fields(config.objective)}
    for name, network in networks(config.objective).items():
        if name.partition(".")[0] in fields and network.remat != "full" and state <= target.memory:
            ways.append(f"--objective.{name}.remat full")
    return (
        f"pass {', or '.join(ways)}"
        if ways
        else "pass a smaller --data.batch, or take more devices"
    )


def check_sharding(
    program: Program,
    collectives: Sequence[Collective],
    model: Any,
    config: Pretraining,
    sizes: dict[str, int],
    length: int | None,
) -> None:
    """Raises InputError where the partitioner copied what the table of axes says to cut.

    `model` has the shape and the sharding of every parameter; `length` is that of rows of text, and
    None of images.
    """
    fsdp = sizes["fsdp"]
    way = f"pass a smaller --mesh.fsdp than {fsdp}, and the rest to --mesh.data"
    if rows := gathered_rows(program, model, config, sizes, length):
        things = "images" if length is None else "tokens"
        raise InputError(
            f"the partitioner turned fsdp of {fsdp} into replication: states of {rows:,} {things} meet "
            f"on one device instead of the parameters of one layer; {way}"
        )
    if fsdp == 1:
        return
    if name := gathered_whole(program, model):
        raise InputError(
            f"the partitioner turned fsdp of {fsdp} into replication: {name} of all layers lies whole "
            f"on every device; {way}"
        )
    wanted = cut_bytes(model, config) * (fsdp - 1) / fsdp
    brought = gathered_in_layers(collectives, model)
    if brought < wanted / 2:
        raise InputError(
            f"the partitioner turned fsdp of {fsdp} into replication: {wanted / 2**20:,.1f} MiB of the "
            f"layers' parameters should be gathered by a device in a step, and {brought / 2**20:,.1f} "
            f"are (it may add up whole copies instead); {way}"
        )


def check_layout(arguments: float, output: float, expected: float) -> None:
    """The compiled program takes and gives the state as the tables cut it; bytes of one device.

    A quarter and 64 MiB are left for padding: TPUs keep small arrays in tiles of 8 x 128.
    """
    slack = 0.25 * expected + 64 * 2**20
    if arguments > expected + slack:
        raise InputError(
            f"the compiled step takes {arguments / GIB:.2f} GiB a device and the tables of axes ask "
            f"for {expected / GIB:.2f}: parameters are copied that should be cut; pass another mesh"
        )
    if output > slack:
        raise InputError(
            f"the compiled step gives {output / GIB:.2f} GiB a device that are not written over the "
            "old state: the new one lies in another layout; pass another mesh"
        )


def gathered_rows(
    program: Program, model: Any, config: Pretraining, sizes: dict[str, int], length: int | None
) -> int:
    """Tokens (or images) of states that are put together from several devices; 0 where there are none.

    That is a float array of [rows, length, …] or [rows x length, …] with the rows of more than one
    device, at least twice as large as the states of a device's own rows: a lookup in a table whose
    width is cut gives all rows and a part of the width, which is as large as they are. Of images it is
    one of [rows, any, any, …]: embeddings, which meet in contrastive losses, have two axes longer than 1.
    """
    rows = config.data.batch // config.microbatches
    own = rows // (sizes["data"] * sizes["fsdp"])
    several = {rows, rows // sizes["data"], rows // sizes["fsdp"]} - {own}
    width = min((network.width for network in networks(config.objective).values()), default=0)
    # An array as long as a table is taken for one: tables and their gradients may be exchanged.
    matrices = [leaf for leaf in jax.tree.leaves(model) if len(leaf.shape) == 2]
    tables = {n for leaf in matrices for n in _lengths(leaf)}
    piled = {_piled(leaf) for leaf in matrices}
    for _, instruction, _ in program.walk():
        if instruction.opcode.removesuffix("-start") not in ("all-gather", "all-reduce"):
            continue
        for kind, shape, _ in instruction.shapes:
            if length is None:
                axes = sum(size > 1 for size in shape)
                if kind[0] in "bf" and axes > 2 and shape[0] in several:
                    return shape[0]
                continue
            is_small = math.prod(shape) < 2 * own * length * width
            if kind[0] not in "bf" or is_small or shape in piled:
                continue
            for count in several:
                if shape[:2] == (count, length) and len(shape) > 2:
                    return count * length
                if shape[0] == count * length and shape[0] not in tables:
                    return count * length
    return 0


def _lengths(leaf: Any) -> tuple[int, int]:
    return leaf.shape[0], leaf.sharding.shard_shape(leaf.shape)[0]


def _piled(matrix: Any) -> tuple[int, int]:
    """The shape of what a gather along the first axis makes of a matrix whose width is cut."""
    width = matrix.sharding.shard_shape(matrix.shape)[1]
    return math.prod(matrix.shape) // width, width


def gathered_whole(program: Program, model: Any) -> str | None:
    """The path of a stacked kernel that one gather puts together for all layers at once."""
    stacked = {leaf.shape: path for path, leaf in _stacked(model) if leaf.shape[0] > 2}
    for _, instruction, _ in program.walk():
        if instruction.opcode.removesuffix("-start") == "all-gather":
            for shape in instruction.shapes:
                if shape.sizes in stacked:
                    return stacked[shape.sizes]
    return None


def gathered_in_layers(collectives: Sequence[Collective], model: Any) -> float:
    """Bytes that all-gathers, and permutes in their place, bring to a device for its layers.

    Layers run in a loop where there are more than two; what is gathered outside is a table.
    """
    depth = min((leaf.shape[0] for _, leaf in _stacked(model)), default=1)
    least = depth if depth > 2 else 1
    kinds = ("all-gather", "collective-permute")
    return sum(c.sent for c in collectives if c.kind in kinds and c.times >= least)


def cut_bytes(model: Any, config: Pretraining) -> float:
    """Bytes of the layers' parameters that fsdp cuts, in the type that the network computes in."""
    dtypes = {network.compute_dtype for network in networks(config.objective).values()}
    size = 2 if dtypes == {"bfloat16"} else 4
    total = 0.0
    for _, leaf in _stacked(model):
        if any(axes is not None and "fsdp" in axes for axes in leaf.sharding.spec):
            shard = math.prod(leaf.sharding.shard_shape(leaf.shape))
            total += shard * leaf.sharding.mesh.shape["fsdp"] * size
    return total


def _stacked(model: Any) -> list[tuple[str, Any]]:
    """Paths and kernels of layers that are stacked on a leading axis."""
    leaves = [(path_of(keys), x) for keys, x in jax.tree_util.tree_flatten_with_path(model)[0]]
    return [(path, x) for path, x in leaves if "layers/" in path and len(x.shape) == 3]
