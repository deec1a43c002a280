"""Finds what the partitioner replicated in a compiled step although the layout tables say to shard it.

XLA's partitioner may decide to replicate parameters, or to gather the hidden states of many rows on one
device instead of the parameters of one layer. Such a step runs, but needs far more memory and traffic
than planned.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax

from jaxssl.errors import InputError
from jaxssl.planning.collectives import Collective
from jaxssl.planning.program_text import Program
from jaxssl.planning.refusals import GIB, networks
from jaxssl.sharding.layout import path_of
from jaxssl.training.config import Pretraining


def check_sharding(
    program: Program,
    collectives: Sequence[Collective],
    model: Any,
    config: Pretraining,
    sizes: dict[str, int],
    length: int | None,
) -> None:
    """Checks that the partitioner sharded what the layout tables say, and did not replicate it instead.

    Args:
      program: The compiled step.
      collectives: Its collectives.
      model: Pytree with the shape and the sharding of each parameter.
      config: Configuration of the run.
      sizes: Number of devices on each mesh axis.
      length: Length of the rows of text in tokens; None for images.

    Raises:
      InputError: Hidden states of many rows, or the parameters of all layers, are gathered on a device;
        or the parameters of the layers are not gathered at all, so they must be replicated.
    """
    fsdp = sizes["fsdp"]
    way = f"set mesh.fsdp to less than {fsdp}, and mesh.data to the rest"
    if rows := gathered_rows(program, model, config, sizes, length):
        things = "images" if length is None else "tokens"
        raise InputError(
            f"the partitioner turned fsdp of {fsdp} into replication: states of {rows:,} {things} are "
            f"gathered on one device instead of the parameters of one layer; {way}"
        )
    if fsdp == 1:
        return
    if name := gathered_whole(program, model):
        raise InputError(
            f"the partitioner turned fsdp of {fsdp} into replication: {name} of all layers is "
            f"complete on every device; {way}"
        )
    wanted = sharded_bytes(model, config) * (fsdp - 1) / fsdp
    brought = gathered_in_layers(collectives, model)
    if brought < wanted / 2:
        raise InputError(
            f"the partitioner turned fsdp of {fsdp} into replication: {wanted / 2**20:,.1f} MiB of the "
            f"layers' parameters should be gathered by a device in a step, but {brought / 2**20:,.1f} "
            f"are (it may sum whole copies instead); {way}"
        )


def check_layout(arguments: float, output: float, expected: float) -> None:
    """Checks that the compiled step takes and returns the state sharded as the layout tables say.

    Up to a quarter and 64 MiB more are accepted as padding, since TPUs store small arrays in tiles of
    8 x 128.

    Args:
      arguments: Bytes of the step's arguments on one device.
      output: Bytes of its results on one device that do not reuse the memory of the arguments.
      expected: Bytes of the state and the batch on one device by the layout tables.

    Raises:
      InputError: There are more.
    """
    slack = 0.25 * expected + 64 * 2**20
    if arguments > expected + slack:
        raise InputError(
            f"the compiled step takes {arguments / GIB:.2f} GiB per device, but by the layout tables it "
            f"should be {expected / GIB:.2f}: parameters are replicated that should be sharded; "
            "choose another mesh"
        )
    if output > slack:
        raise InputError(
            f"the compiled step returns {output / GIB:.2f} GiB per device that do not replace the old "
            "state: the new state has another layout; choose another mesh"
        )


def gathered_rows(
    program: Program, model: Any, config: Pretraining, sizes: dict[str, int], length: int | None
) -> int:
    """Finds hidden states that are gathered from several devices.

    For text, that is a float array `[rows, length, ...]` or `[rows * length, ...]` with the rows of more
    than one device, and at least twice as large as the states of a device's own rows. (A lookup in a
    table whose width is sharded gives all rows with a part of the width, which is just as large.) For
    images, it is a float array `[rows, any, any, ...]` with more than two axes longer than 1, since
    contrastive losses rightly gather embeddings, which have two.

    Args:
      program: The compiled step.
      model: Pytree with the shape and the sharding of each parameter.
      config: Configuration of the run.
      sizes: Number of devices on each mesh axis.
      length: Length of the rows of text in tokens; None for images.

    Returns:
      The number of tokens or images whose states are gathered; 0 if there are none.
    """
    rows = config.data.batch // config.microbatches
    own = rows // (sizes["data"] * sizes["fsdp"])
    several = {rows, rows // sizes["data"], rows // sizes["fsdp"]} - {own}
    width = min((network.width for network in networks(config.objective).values()), default=0)
    # An array as long as a table is assumed to be one: tables and their gradients may be exchanged
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
    """Returns the length of a table's first axis: of the whole, and of a shard."""
    return leaf.shape[0], leaf.sharding.shard_shape(leaf.shape)[0]


def _piled(matrix: Any) -> tuple[int, int]:
    """Returns the shape of a matrix with sharded width, its shards gathered along the first axis."""
    width = matrix.sharding.shard_shape(matrix.shape)[1]
    return math.prod(matrix.shape) // width, width


def gathered_whole(program: Program, model: Any) -> str | None:
    """Finds a stacked kernel that is gathered for all layers at once.

    Args:
      program: The compiled step.
      model: Pytree with the shape and the sharding of each parameter.

    Returns:
      The path of the kernel, or None.
    """
    stacked = {leaf.shape: path for path, leaf in _stacked(model) if leaf.shape[0] > 2}
    for _, instruction, _ in program.walk():
        if instruction.opcode.removesuffix("-start") == "all-gather":
            for shape in instruction.shapes:
                if shape.sizes in stacked:
                    return stacked[shape.sizes]
    return None


def gathered_in_layers(collectives: Sequence[Collective], model: Any) -> float:
    """Returns the bytes that a device receives for its layers' parameters in a step.

    They come by all-gathers, or by permutes instead. Where layers run in a loop, what is gathered outside
    of loops is not a layer's parameter but a table; where they do not, a table has more rows than a kernel.

    Args:
      collectives: The collectives of the compiled step.
      model: Pytree with the shape and the sharding of each parameter.
    """
    shapes = [leaf.shape for _, leaf in _stacked(model)]
    depth = min((shape[0] for shape in shapes), default=1)
    least = depth if depth > 2 else 1
    gathers = [c for c in collectives if c.kind in ("all-gather", "collective-permute")]
    if any(c.times >= least for c in gathers):
        return sum(c.sent for c in gathers if c.times >= least)
    most = max((max(shape[1:]) for shape in shapes), default=0)
    return sum(c.sent for c in gathers if c.rows <= most)


def sharded_bytes(model: Any, config: Pretraining) -> float:
    """Returns the bytes of the layers' parameters that fsdp shards, in the type of the computation.

    Args:
      model: Pytree with the shape and the sharding of each parameter.
      config: Configuration of the run.
    """
    dtypes = {network.compute_dtype for network in networks(config.objective).values()}
    size = 2 if dtypes == {"bfloat16"} else 4
    total = 0.0
    for _, leaf in _stacked(model):
        if any(axes is not None and "fsdp" in axes for axes in leaf.sharding.spec):
            shard = math.prod(leaf.sharding.shard_shape(leaf.shape))
            total += shard * leaf.sharding.mesh.shape["fsdp"] * size
    return total


def _stacked(model: Any) -> list[tuple[str, Any]]:
    """Returns the paths and kernels of layers that are stacked on a leading axis."""
    leaves = [(path_of(keys), x) for keys, x in jax.tree_util.tree_flatten_with_path(model)[0]]
    return [(path, x) for path, x in leaves if "layers/" in path and len(x.shape) == 3]
