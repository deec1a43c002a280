"""What accelerators can do, from their makers' data sheets.

TPUs: cloud.google.com/tpu/docs, a page for every version (v6e, v5p and TPU7x side by side on that of
TPU7x), and for the links of v4 and v5e chapter 2 of jax-ml.github.io/scaling-book. GPUs: NVIDIA's
data sheets of the SXM modules, and of the DGX system for the network. All figures are peaks that no
program reaches.
"""

import difflib
from dataclasses import dataclass

from jaxssl.errors import InputError

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """One accelerator, as it is bought; FLOP/s, bytes, and bytes per second."""

    name: str
    """Name, as `jaxssl plan --on` takes it."""
    kind: str
    """Text that JAX's `device_kind` contains."""
    peak: float
    """Dense bfloat16 FLOP/s."""
    memory: float
    """Bytes that a program may use: what libtpu grants on a TPU, what CUDA reports on a GPU."""
    bandwidth: float
    """Bytes per second of its memory."""
    link: float
    """Bytes per second, one way, of a link of the torus (TPU) or of all links to the switch (GPU)."""
    network: float
    """Bytes per second, one way, to chips of other slices (TPU) or nodes (GPU)."""
    sizes: int = 0
    """Number of dimensions of the torus; 0 where all chips of a node are connected to each other."""
    ring: int = 1
    """A dimension whose size is a multiple of this number of chips is closed to a ring."""
    largest: int = 0
    """Number of chips of the largest slice."""
    devices: int = 1
    """Number of JAX devices of one chip."""
    host: int = 4
    """Number of chips of one host."""
    clock: float = 0.0
    """Cycles per second of its cores; 0 where it is not published. A GPU's is what its peak implies."""
    matrix_side: int = 128
    """Rows and columns of a TPU's matrix unit."""

    @property
    def is_tpu(self) -> bool:
        """Returns whether the chip is a TPU, which is connected as a torus."""
        return self.sizes > 0


# A kind that contains another's stands before it.
CHIPS = (
    Chip("v4", "TPU v4", 275e12, 30.75 * GIB, 1.228e12, 4.5e10, 6.25e9, 3, 4, 4096, clock=1.05e9),
    Chip(
        "v5e", "TPU v5 lite", 197e12, 15.75 * GIB, 0.819e12, 5e10, 3.125e9, 2, 16, 256, clock=1.5e9
    ),
    Chip("v5p", "TPU v5", 459e12, 95.74 * GIB, 2.765e12, 1e11, 6.25e9, 3, 4, 6144, clock=1.75e9),
    Chip("v6e", "TPU v6 lite", 918e12, 31.25 * GIB, 1.638e12, 1e11, 1.25e10, 2, 16, 256),
    Chip("tpu7x", "TPU7x", 2307e12, 189.5 * GIB, 7.38e12, 1e11, 1.25e10, 3, 4, 9216, devices=2),
    Chip("a100", "A100", 312e12, 85e9, 2.039e12, 3e11, 2.5e10, host=8, clock=1.41e9),
    Chip("h100", "H100", 989e12, 85e9, 3.352e12, 4.5e11, 5e10, host=8, clock=1.83e9),
    Chip("h200", "H200", 989e12, 150e9, 4.8e12, 4.5e11, 5e10, host=8, clock=1.83e9),
)

ALIASES = {"v5litepod": "v5e", "trillium": "v6e", "ironwood": "tpu7x", "v7x": "tpu7x"}


def find_chip(name: str) -> Chip:
    """Returns the chip of this `name`. Raises InputError that has the nearest name where there is none."""
    known = {chip.name: chip for chip in CHIPS}
    if name in known:
        return known[name]
    spellings = {**dict.fromkeys([*known, "cpu"]), **ALIASES}
    near = difflib.get_close_matches(name.lower(), spellings, 1, cutoff=0.5)
    hint = f"did you mean {spellings[near[0]] or near[0]}? " if near else ""
    raise InputError(f"chip {name!r} is unknown; {hint}There are cpu, {', '.join(known)}")


def chip_of(device_kind: str) -> Chip | None:
    """Returns the chip of a JAX device, by its `device_kind`; None where it is unknown."""
    return next((chip for chip in CHIPS if chip.kind in device_kind), None)


def device_peak(device_kind: str) -> float | None:
    """Dense bfloat16 FLOP/s of one JAX device, by its `device_kind`; None where it is unknown."""
    chip = chip_of(device_kind)
    return chip.peak / chip.devices if chip else None
