"""The forecast of a step: cycles over the clock, and collectives that are not hidden."""

import dataclasses

import pytest

from jaxssl.planning.forecast import forecast
from jaxssl.planning.program_text import read_program
from jaxssl.planning.source_lines import SourceLines
from jaxssl.training.chips import find_chip
from tests.planning.cycles_program import TEXT

V5E = find_chip("v5e")


def _forecast(chip=V5E, text=TEXT, exposed=0.0):
    return forecast(read_program(text), SourceLines(text), chip, flops=1e6, exposed=exposed)


def test_cycles_seconds_and_share_of_peak():
    found = _forecast(exposed=1e-6)
    assert found.cycles == pytest.approx(3375 + 1500)  # a microsecond is 1,500 cycles of 1.5 GHz
    assert found.seconds == pytest.approx(4875 / 1.5e9)
    assert found.utilisation == pytest.approx(1e6 / (4875 / 1.5e9 * 197e12))
    assert list(found.parts) == [
        "feed-forward",
        "collectives not hidden",
        "moving data",
        "optimizer",
    ]
    assert sum(found.parts.values()) == pytest.approx(found.cycles)
    assert found.dearest[0].name == "product"
    assert (found.kernels, found.uncovered) == (0.0, {})


def test_a_kernel_that_cannot_be_read_is_named():
    call = '  %k = bf16[8,8]{1,0} custom-call(%a), custom_call_target="tpu_custom_call"\n  %send ='
    found = _forecast(text=TEXT.replace("  %send =", call, 1))
    assert found.uncovered == {"k": 1}
    assert found.cycles == 3375


def test_there_is_none_without_cycles_or_clock():
    assert _forecast(text=TEXT.replace("estimated_cycles", "other")) is None
    assert _forecast(chip=dataclasses.replace(V5E, clock=0.0)) is None
