"""Calls that make no progress are given up, whatever they wait for."""

import threading
import time

import pytest

from jaxssl.data.stores import stalls
from jaxssl.data.stores.stalls import TIMEOUT, Progress, Stalled, in_time, patience
from jaxssl.errors import InputError


def test_results_and_errors_come_back(monkeypatch):
    assert in_time(lambda: 7) == 7

    def fail():
        raise FileNotFoundError("none")

    with pytest.raises(FileNotFoundError, match="none"):
        in_time(fail)


def test_a_call_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setenv(TIMEOUT, "0.05")
    leave, began = threading.Event(), time.monotonic()
    with pytest.raises(Stalled, match="no progress"):
        in_time(lambda: leave.wait(20))
    assert time.monotonic() - began < 5
    leave.set()


def test_progress_keeps_a_slow_call_alive(monkeypatch):
    monkeypatch.setenv(TIMEOUT, "0.25")
    progress = Progress()

    def slow():
        for _ in range(10):
            time.sleep(0.05)
            progress.callback.relative_update(1)
        return "done"

    assert in_time(slow, progress) == "done"


def test_large_files_get_the_time_that_their_bytes_take():
    assert Progress(10 << 20).extra == 10
    assert Progress(1 << 40).extra == stalls.UNSEEN / stalls.SLOWEST == 100


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e300", "soon"])
def test_a_time_that_is_none(text, monkeypatch):
    monkeypatch.setenv(TIMEOUT, text)
    with pytest.raises(InputError, match=f"{TIMEOUT}='{text}' must be a number of seconds above 0"):
        patience()


def test_the_time_is_settable(monkeypatch):
    monkeypatch.setenv(TIMEOUT, "2.5")
    assert patience() == 2.5
    monkeypatch.setenv(TIMEOUT, "")
    assert patience() == stalls.SECONDS
