"""The table of chips."""

import pytest

from jaxssl.errors import InputError
from jaxssl.training.chips import CHIPS, device_peak, find_chip


def test_a_device_is_found_by_the_name_that_jax_gives_it():
    assert device_peak("TPU v5 lite") == 197e12
    assert device_peak("TPU v5") == device_peak("TPU v5p") == 459e12
    assert device_peak("NVIDIA H100 80GB HBM3") == 989e12
    assert device_peak("TPU7x") == 2307e12 / 2  # JAX sees two devices on a chip
    assert device_peak("Quantum 3") is None


def test_every_chip_is_found_by_its_own_kind():
    for chip in CHIPS:
        assert device_peak(chip.kind) == chip.peak / chip.devices
        assert find_chip(chip.name) is chip


def test_an_unknown_chip_names_the_nearest():
    for name, near in {
        "v5litepod": "v5e",
        "v6": "v6e",
        "H100": "h100",
        "ironwood": "tpu7x",
    }.items():
        with pytest.raises(InputError, match=f"did you mean {near}"):
            find_chip(name)
    with pytest.raises(InputError, match="unknown; There are cpu, v4"):
        find_chip("quantum")
