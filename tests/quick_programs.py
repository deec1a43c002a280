"""XLA's flags for tests: most of the suite's time was XLA making fast what runs once or twice."""

from importlib.metadata import version


def xla_flags(devices: int) -> str:
    """So many simulated devices, and programs that are compiled with the least effort."""
    flags = [
        f"--xla_force_host_platform_device_count={devices}",
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
    ]
    if version("jax").startswith("0.10."):  # half the time of compiling; later ones know no other
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return " ".join(flags)
