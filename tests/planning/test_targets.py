"""Targets: devices, hosts and memory by hand, and what is refused."""

import pytest

from jaxssl.errors import InputError
from jaxssl.planning import targets
from jaxssl.planning.targets import NoCompiler, check_compiler, read_target, target_devices


@pytest.mark.parametrize(
    ("text", "slices", "chips", "devices", "hosts"),
    [
        ("v5e:16x16", 1, 256, 256, 64),
        ("v5p:8x8x8", 2, 1024, 1024, 256),
        ("v5e:1x1", 3, 3, 3, 3),  # a host for each slice, however small
        ("tpu7x:4x4x4", 1, 64, 128, 16),  # two devices per chip
        ("h100:2x8", 1, 16, 16, 2),
        ("cpu:8", 1, 8, 8, 1),
    ],
)
def test_chips_devices_and_hosts(text, slices, chips, devices, hosts):
    target = read_target(text, slices)
    assert (target.chips, target.device_count, target.hosts) == (chips, devices, hosts)


def test_memory_of_a_device(monkeypatch):
    """15.75 GiB of a v5e; half a TPU7x; 75 % of the H100's 85 GB, or what JAX is told."""
    monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
    assert read_target("v5e:2x2").memory == 15.75 * 2**30
    assert read_target("tpu7x:2x2x1").memory == 189.5 * 2**30 / 2
    assert read_target("h100:1x8").memory == pytest.approx(0.75 * 85e9)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
    assert read_target("h100:1x8").memory == pytest.approx(0.9 * 85e9)
    assert read_target("cpu:8").memory == pytest.approx(read_target("cpu:1").memory / 8)


@pytest.mark.parametrize(
    ("text", "slices", "message"),
    [
        ("v5e", 1, "names no devices; write it like v5e:16x16"),
        ("v5e:0x4", 1, "names no devices"),
        ("v5e:axb", 1, "names no devices"),
        ("v5p:8x8", 1, "has 2 dimensions, and v5p has 3; write it like v5p:4x4x4"),
        ("v6e:32x16", 1, "512 chips but the largest slice of v6e has 256; use a smaller shape"),
        ("v5e:3x4", 1, "does not divide into hosts of 2x2 chips; use v5e:4x4"),
        ("h100:8", 1, "write nodes x GPUs of a node, e.g. h100:8x8"),
        ("cpu:2x4", 1, "CPUs are only counted; write cpu:8"),
        ("cpu:8", 2, "only TPUs come in slices, and cpu is not one; set slices to 1"),
        ("v5e:4x4", 0, "slices=0 must be at least 1"),
        ("v9:2x2", 1, "chip 'v9' is unknown"),
    ],
)
def test_what_does_not_exist_is_refused(text, slices, message):
    with pytest.raises(InputError, match=message):
        read_target(text, slices)


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(targets.importlib.util, "find_spec", lambda name: None)
    check_compiler(read_target("cpu:8"))
    with pytest.raises(NoCompiler, match=r"libtpu.* pip install 'jax\[tpu\]'"):
        check_compiler(read_target("v5e:2x2"))
    with pytest.raises(NoCompiler, match=r"CUDA.* pip install 'jax\[cuda12\]'"):
        check_compiler(read_target("h100:1x8"))


def test_simulated_devices():
    assert len(target_devices(read_target("cpu:4"))) == 4
    with pytest.raises(InputError, match="start another with XLA_FLAGS=.*device_count=4096"):
        target_devices(read_target("cpu:4096"))


def test_every_gpu_has_a_description():
    for chip in targets.CHIPS:
        if not chip.is_tpu:
            text = targets._gpu_description(chip)
            assert f'device_description_str: "{chip.kind}"' in text
            assert f"device_memory_size: {int(chip.memory)}" in text
    assert targets.known_targets().startswith("v4, v5e")
    assert targets.known_targets().endswith("cpu")
