"""Options of the TPU compiler with which collectives run while the device computes, by chip.

They are the options that public launch scripts set for a whole process in LIBTPU_INIT_ARGS. Here they belong
to the training step alone, `jax.jit(step, compiler_options=...)`. docs/scaling.md has what they change.

References:
  AI-Hypercomputer/maxtext: benchmarks/xla_flags_library.py says what groups of options are for, and
  src/maxtext/configs/tpu has a script for every model and chip.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxssl.errors import InputError
from jaxssl.training.chips import chip_of

Options = Mapping[str, str]

# Parts of a gather run inside the operations between its start and its end.
# MaxText: CF_FOR_ALL_GATHER, and all scripts in configs/tpu/v5e, v5p and v6e.
GATHERS = {
    "xla_tpu_enable_async_collective_fusion": "true",
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather": "true",
    "xla_tpu_enable_async_collective_fusion_multiple_steps": "true",
    "xla_tpu_overlap_compute_collective_tc": "true",
    "xla_enable_async_all_gather": "true",
}
# Products of gathered kernels are not split into a ring of smaller ones with a part of the kernel each: the
# slices cost more than the gathers, and gathers overlap without it (docs/scaling.md).
WHOLE_PRODUCTS = {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"}
# Collectives run on the sparse cores of the chip, which v5e lacks. MaxText:
# ENABLE_SPARSECORE_OFFLOADING_FOR_RS_AG_AR, for v5p in benchmarks/maxtext_v5p_model_configs.py; the same in
# apple/axlearn, axlearn/common/compiler_options.py, for v6e. Gathers over groups that span two or three
# dimensions of the torus: AI-Hypercomputer/tpu-recipes, training. Fusing sums into other work instead has
# given NaN beside splash attention on v6e (jax-ml/jax issue 38741).
SPARSE_CORES = {
    "xla_tpu_enable_async_collective_fusion_fuse_all_gather": "false",
    "xla_tpu_enable_async_collective_fusion_fuse_all_reduce": "false",
    "xla_tpu_enable_async_collective_fusion_fuse_reduce_scatter": "false",
    "xla_tpu_enable_sparse_core_collective_offload_all_gather": "true",
    "xla_tpu_enable_sparse_core_collective_offload_2d_all_gather": "true",
    "xla_tpu_enable_sparse_core_collective_offload_3d_all_gather": "true",
    "xla_tpu_enable_sparse_core_collective_offload_all_reduce": "true",
    "xla_tpu_enable_sparse_core_collective_offload_reduce_scatter": "true",
    "xla_tpu_use_tc_device_shape_on_sc": "true",
    "xla_sc_enable_instruction_fusion": "false",
    "xla_sc_disable_megacore_partitioning": "true",
}
TABLE: Mapping[str, Options] = {
    "v5e": GATHERS | WHOLE_PRODUCTS,
    "v5p": SPARSE_CORES,
    "v6e": SPARSE_CORES,
}
"""The options of each chip, by its name in `chips.py`; a chip without an entry has none."""

# The partitioner makes sums over devices float32 where the summands are bfloat16. By default it does so only
# for sums over many devices.
FLOAT32_SUMS = {
    "xla_tpu_spmd_f32_accum_for_bf16_ar": "true",
    "xla_tpu_spmd_f32_accum_for_bf16_ar_min_subgroup_size": "1",
}
SPELLED = {"true": "True", "false": "False"}
UNKNOWN = re.compile(r"No such compile option: '(\w+)'")
REFUSED = re.compile(
    r"Failed to parse '.*' into flag (\w+)|While setting option (\w+), '.*' is not"
)


def read_options(words: tuple[str, ...]) -> dict[str, str]:
    """Reads options that are written as NAME=VALUE.

    Args:
      words: The options, with or without the two dashes that they have in LIBTPU_INIT_ARGS.

    Returns:
      Values by names.

    Raises:
      InputError: One has no name or no value, or a name occurs twice.
    """
    options: dict[str, str] = {}
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        if not re.fullmatch(r"\w+", name) or not value:
            raise InputError(
                f"compiler_options {word!r} is no option; write it as NAME=VALUE, e.g. "
                "xla_tpu_scoped_vmem_limit_kib=65536"
            )
        if name in options:
            raise InputError(f"compiler_options has {name} twice; name it once")
        options[name] = value
    return options


def options_for(config: Any, mesh: Mesh) -> dict[str, str]:
    """Returns the compiler options of the training step.

    Args:
      config: Configuration of the run, a `Pretraining`; its `compiler_options` and `gradient_sums` are read.
        Options of `TABLE` that the installed compiler does not know are left out.
      mesh: Devices that the step is compiled for, which may be devices of a topology.

    Returns:
      Values by names.

    Raises:
      InputError: The compiler does not know an option that the configuration names, or not its value.
    """
    is_tpu = mesh.devices.flat[0].platform == "tpu"
    table = table_for(mesh) if config.compiler_options is None else {}
    missing = unknown_options(tuple(table.items()), mesh) if table else ()
    asked = read_options(config.compiler_options or ())
    if is_tpu and config.gradient_sums == "float32":
        asked |= FLOAT32_SUMS
    if not is_tpu:  # XLA for CPUs and GPUs spells truth values so; libtpu reads both
        asked = {name: SPELLED.get(value, value) for name, value in asked.items()}
    if asked and (unknown := unknown_options(tuple(asked.items()), mesh)):
        raise InputError(
            f"compiler_options has {', '.join(unknown)}, which the compiler for "
            f"{mesh.devices.flat[0].device_kind} does not know; leave it out"
        )
    return {name: value for name, value in table.items() if name not in missing} | asked


def in_words(config: Any, mesh: Mesh) -> str:
    """Describes the compiler options of the training step; empty where there are none.

    Args:
      config: Configuration of the run, as for `options_for`.
      mesh: Devices that the step is compiled for.

    Returns:
      The options as `--compiler-options` takes them, and which ones of `TABLE` are left out.
    """
    options = options_for(config, mesh)
    shown = " ".join(f"{name}={value}" for name, value in options.items())
    own = config.compiler_options is None
    left_out = [name for name in table_for(mesh) if own and name not in options]
    return f"{shown} (this compiler does not know {', '.join(left_out)})" if left_out else shown


def table_for(mesh: Mesh) -> Options:
    """Returns the options of `TABLE` for the chips of a `mesh`, whether its compiler knows them or not."""
    device = mesh.devices.flat[0]
    chip = chip_of(device.device_kind) if device.platform == "tpu" else None
    return TABLE.get(chip.name, {}) if chip else {}


@functools.cache
def unknown_options(options: tuple[tuple[str, str], ...], mesh: Mesh) -> tuple[str, ...]:
    """Finds the options that a compiler does not know, by compiling a program that does nothing.

    Args:
      options: Pairs of names and values.
      mesh: Devices to compile for.

    Returns:
      Names of the options that the compiler does not know.

    Raises:
      InputError: The compiler does not know the value of an option.
    """
    scalar = jax.ShapeDtypeStruct((), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec()))
    lowered: Any = jax.jit(lambda x: x).lower(scalar)
    left, unknown = dict(options), []
    while left:
        try:
            lowered.compile(compiler_options=left)
            break
        except jax.errors.JaxRuntimeError as error:
            # The compiler names the first option that it refuses
            if found := UNKNOWN.search(str(error)):
                unknown.append(found[1])
                del left[found[1]]
            elif found := REFUSED.search(str(error)):
                name = found[1] or found[2]
                raise InputError(
                    f"compiler_options {name}={left[name]}: the compiler does not know this value; choose "
                    "another, or leave the option out"
                ) from error
            else:
                raise
    return tuple(unknown)
