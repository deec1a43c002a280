"""The machine in words: processor, driver, versions. JAX is not asked: its devices are for the parts."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("jax", "jaxlib", "flax", "optax", "libtpu", "jax-cuda12-plugin", "jax-cuda13-plugin")
FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")
OF_GPU = "name,driver_version,power.limit,clocks.max.sm,memory.used"


def describe_machine() -> dict[str, str]:
    """Describes processor, memory, operating system, GPU driver and flags of this machine, what there is."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.platform(),
    }
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", f"--query-gpu={OF_GPU}", "--format=csv,noheader"]
        found[f"GPU ({OF_GPU})"] = _output(query)
    return found | {name: os.environ[name] for name in FLAGS if os.environ.get(name)}


def describe_versions() -> dict[str, str]:
    """Returns the versions of Python, of the packages that a step is made of, and the commit."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    root = Path(__file__).parents[2]
    commit = _output(["git", "-C", str(root), "describe", "--always", "--dirty"])
    return found | {"jaxssl": commit or "not a checkout"}


def command_line() -> str:
    """Returns the command that this program was started with, without the path of the interpreter."""
    return " ".join(["python -m benchmarks.on_accelerator", *sys.argv[1:]])


def _processor() -> str:
    """The name of the processor, as Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _output(command: list[str]) -> str:
    """What a command prints, in one line; empty where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(done.stdout.split("\n")).strip("; ")
