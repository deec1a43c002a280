"""Workers: every unit once from any number of processes, and errors of a worker reach the caller."""

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass

import pytest

from jaxssl.data.preparing import workers as workers_module
from jaxssl.data.preparing.units import Unit
from jaxssl.data.preparing.workers import usable_cores, write_units
from jaxssl.errors import InputError


@dataclass(frozen=True)
class Add:
    """Adds up the documents of a unit, and tells which process did."""

    def write(self, unit):
        if "refuse" in unit.documents:
            raise InputError("a document is refused")
        if "kill" in unit.documents:
            os.kill(os.getpid(), signal.SIGKILL)
        return sum(unit.documents), os.getpid()


class Sleep:
    """Takes no time for the first unit, and a minute for the others."""

    def write(self, unit):
        time.sleep(60 if unit.number else 0)


def units(count):
    return [Unit("train", number, [number, 10]) for number in range(count)]


@pytest.mark.parametrize(("count", "workers"), [(7, 1), (1, 2), (7, 2), (0, 2)])
def test_every_unit_once(count, workers):
    found = {}
    for unit, (total, process) in write_units(iter(units(count)), Add(), workers):
        assert unit.documents == []  # what was written is not kept
        assert (process == os.getpid()) == (workers == 1 or count < 2)
        found[unit.number] = total
    assert found == {number: number + 10 for number in range(count)}


def test_units_are_read_as_they_are_needed():
    read = []

    def source():
        for unit in units(50):
            read.append(unit.number)
            yield unit

    writing = write_units(source(), Add(), 1)
    for _ in range(3):
        next(writing)
    assert len(read) <= 3 + 2


def test_errors_of_workers():
    with pytest.raises(InputError, match="a document is refused"):
        list(write_units([*units(3), Unit("train", 3, ["refuse"])], Add(), 2))
    with pytest.raises(InputError, match="a worker was killed, most likely because memory ran out"):
        list(write_units([*units(3), Unit("train", 3, ["kill"])], Add(), 2))


def test_cores():
    assert 1 <= usable_cores() <= os.cpu_count()


def test_an_interrupt_waits_for_the_end_of_the_block():
    reached = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it

    def interrupted():
        with workers_module._without_interrupts():
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
                reached.append(1)

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert len(reached) == 3
        with pytest.raises(KeyboardInterrupt):  # as before
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_workers_end_where_their_results_are_given_up():
    """In the middle of long work, which is not waited for."""
    written = write_units(units(4), Sleep(), 2)
    began = time.monotonic()
    next(written)
    written.close()
    assert time.monotonic() - began < 30
    assert not multiprocessing.active_children()
