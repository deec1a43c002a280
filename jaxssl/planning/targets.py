"""Machines to plan for: `v5e:16x16`, `h100:8x8` (nodes x GPUs), `cpu:8`; and JAX devices that stand for them.

libtpu and JAX's CUDA plugin compile for devices that this machine does not have. The devices that
`target_devices` returns can only be compiled for, except CPUs, which can also run.
"""

import contextlib
import importlib.util
import math
import os
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import topologies

from jaxssl.errors import InputError
from jaxssl.training.chips import CHIPS, Chip, find_chip

FORCED = "xla_force_host_platform_device_count"
EXAMPLES = "v5e:16x16, v5p:8x8x8, h100:8x8 (nodes x GPUs) or cpu:8"
WITHOUT_TPU = {  # environment variables that libtpu needs on a machine without a TPU
    "TPU_SKIP_MDS_QUERY": "1",  # do not query the metadata server
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # allow several plans at a time
    "TPU_WORKER_HOSTNAMES": "localhost",  # avoids warnings; has no effect on the topology
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
}


class NoCompiler(Exception):
    """Raised if the compiler for the target is not installed or crashes; the message names a way out."""


@dataclass(frozen=True)
class Target:
    """The devices to plan for."""

    text: str
    """The target as it was given, such as "v5e:16x16"."""
    chip: Chip | None
    """The chip; None for the CPU devices of one machine."""
    shape: tuple[int, ...]
    """Chips along each dimension of a TPU slice; nodes and GPUs per node; or number of CPU devices."""
    slices: int = 1
    """Number of TPU slices, connected by the data centre's network."""

    @property
    def chips(self) -> int:
        """Returns the number of chips of all slices."""
        return math.prod(self.shape) * self.slices

    @property
    def devices_per_chip(self) -> int:
        """Returns the number of JAX devices of one chip."""
        return self.chip.devices if self.chip else 1

    @property
    def device_count(self) -> int:
        """Returns the number of JAX devices."""
        return self.chips * self.devices_per_chip

    @property
    def hosts(self) -> int:
        """Returns the number of hosts."""
        if self.chip is None:
            return 1
        per_host = self.chip.host if self.chip.is_tpu else self.shape[1]
        return max(self.chips // per_host, self.slices)

    @property
    def memory(self) -> float:
        """Returns the bytes that a program may use on one device.

        On a GPU, JAX takes 75 % of the memory, or the fraction XLA_PYTHON_CLIENT_MEM_FRACTION.
        Simulated CPU devices share the memory of this machine.
        """
        if self.chip is None:
            whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            return whole / self.device_count
        share = 1.0
        if not self.chip.is_tpu:
            share = float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75"))
        return self.chip.memory * share / self.chip.devices


def read_target(text: str, slices: int = 1) -> Target:
    """Parses a target.

    Args:
      text: Chip and shape, such as "v5e:16x16", "h100:8x8" (nodes x GPUs per node) or "cpu:8".
      slices: Number of TPU slices.

    Raises:
      InputError: The chip is unknown, or does not exist in this shape or number of slices.
    """
    name, _, sizes = text.partition(":")
    chip = None if name == "cpu" else find_chip(name)
    try:
        shape = tuple(int(size) for size in sizes.split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise InputError(f"target {text!r} names no devices; write it like {EXAMPLES}")
    if chip is None and len(shape) != 1:
        raise InputError(f"target {text!r}: CPUs are only counted; write cpu:{math.prod(shape)}")
    if slices < 1:
        raise InputError(f"slices={slices} must be at least 1")
    if slices > 1 and (chip is None or not chip.is_tpu):
        raise InputError(f"only TPUs come in slices, and {name} is not one; set slices to 1")
    if chip is not None:
        _check_shape(chip, text, shape)
    return Target(text, chip, shape, slices)


def _check_shape(chip: Chip, text: str, shape: tuple[int, ...]) -> None:
    """Refuses shapes in which a chip does not exist."""
    if not chip.is_tpu:
        if len(shape) != 2:
            raise InputError(f"target {text!r}: write nodes x GPUs of a node, e.g. {chip.name}:8x8")
        return
    if len(shape) != chip.sizes:
        example = "x".join(["4"] * chip.sizes)
        raise InputError(
            f"target {text!r} has {len(shape)} dimensions, and {chip.name} has {chip.sizes}; "
            f"write it like {chip.name}:{example}"
        )
    if math.prod(shape) > chip.largest:
        raise InputError(
            f"target {text!r} has {math.prod(shape):,} chips but the largest slice of {chip.name} "
            f"has {chip.largest:,}; use a smaller shape and more slices"
        )
    if math.prod(shape) > 1 and (shape[0] % 2 or shape[1] % 2):
        near = "x".join(
            str(size + size % 2) if i < 2 else str(size) for i, size in enumerate(shape)
        )
        raise InputError(
            f"target {text!r} does not divide into hosts of 2x2 chips; use {chip.name}:{near}"
        )


def check_compiler(target: Target) -> None:
    """Checks that the compiler for `target` is installed.

    Raises:
      NoCompiler: It is not; the message says what to install.
    """
    if target.chip is None:
        return
    if target.chip.is_tpu and importlib.util.find_spec("libtpu") is None:
        raise NoCompiler(
            "libtpu, which compiles for TPUs, is not installed: pip install 'jax[tpu]'"
        )
    if not target.chip.is_tpu and importlib.util.find_spec("jax_cuda12_plugin") is None:
        raise NoCompiler(
            "JAX's CUDA plugin, which compiles for GPUs, is not installed: pip install 'jax[cuda12]'"
        )


def target_devices(target: Target) -> list[Any]:
    """Returns the devices of `target`, to compile for; call `check_compiler` first.

    Raises:
      InputError: This process has fewer CPU devices than the target.
    """
    if target.chip is None:
        return _cpus(target)
    if target.chip.is_tpu:
        return _tpus(target.chip, target)
    return _gpus(target.chip, target)


def _cpus(target: Target) -> list[Any]:
    """Returns simulated CPU devices of this process."""
    if FORCED not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(
            RuntimeError
        ):  # it is too late if JAX has already made its devices
            jax.config.update("jax_num_cpu_devices", target.device_count)
    devices = jax.devices("cpu")
    if len(devices) < target.device_count:
        raise InputError(
            f"target {target.text}: this process has {len(devices)} CPU devices; start another with "
            f"XLA_FLAGS=--{FORCED}={target.device_count}"
        )
    return devices[: target.device_count]


def _tpus(chip: Chip, target: Target) -> list[Any]:
    """Returns TPU devices to compile for."""
    for name, value in WITHOUT_TPU.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {}
    if target.chips == target.slices:
        options["chips_per_host_bounds"] = (1, 1, 1)
    if target.slices > 1:
        options["num_slices"] = target.slices
    if chip.name == "v4":
        options["chip_config_name"] = "megacore"  # one device per chip, as on real machines
    return topologies.get_topology_desc(
        platform="tpu", topology_name=target.text, **options
    ).devices


def _gpus(chip: Chip, target: Target) -> list[Any]:
    """Returns GPU devices to compile for."""
    return topologies.get_topology_desc(
        platform="cuda",
        topology_name=chip.name,
        topology=f"1x{target.shape[0]}x{target.shape[1]}",
        target_config=_gpu_description(chip),
    ).devices


@dataclass(frozen=True)
class _Processors:
    """What XLA needs to know of a GPU in addition to `Chip`, as CUDA's `deviceQuery` prints it."""

    count: int
    """Number of streaming multiprocessors."""
    lanes: int
    """Floating-point units per multiprocessor."""
    major: int
    """Major version of the compute capability."""
    cache: int
    """Bytes of the L2 cache."""
    shared: int
    """Bytes of shared memory per multiprocessor."""
    clock: float
    """Clock rate in GHz."""


PROCESSORS = {
    "a100": _Processors(108, 64, 8, 40 << 20, 164 << 10, 1.41),
    "h100": _Processors(132, 128, 9, 50 << 20, 228 << 10, 1.98),
    "h200": _Processors(132, 128, 9, 50 << 20, 228 << 10, 1.98),
}


def _gpu_description(chip: Chip) -> str:
    """Returns the description of a GPU as the text of XLA's GpuTargetConfigProto."""
    gpu = PROCESSORS[chip.name]
    return f"""
    platform_name: "CUDA"
    device_description_str: "{chip.kind}"
    dnn_version_info {{ major: 9 minor: 8 }}
    gpu_device_info {{
      cuda_compute_capability {{ major: {gpu.major} }}
      core_count: {gpu.count} fpus_per_core: {gpu.lanes} clock_rate_ghz: {gpu.clock}
      threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
      registers_per_core_limit: 65536 registers_per_block_limit: 65536
      shared_memory_per_block: 49152 shared_memory_per_core: {gpu.shared}
      shared_memory_per_block_optin: {gpu.shared - 1024}
      block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
      l2_cache_size: {gpu.cache} memory_bandwidth: {int(chip.bandwidth)}
      device_memory_size: {int(chip.memory)}
    }}
    """


def known_targets() -> str:
    """Returns the names of all chips, and "cpu", for help texts."""
    return ", ".join([*(chip.name for chip in CHIPS), "cpu"])
