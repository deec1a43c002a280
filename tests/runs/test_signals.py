"""A signal asks for a stop; a second one ends the process; with several hosts JAX decides on the step."""

import os
import signal
import subprocess
import sys

import jax
import pytest

from jaxssl.runs import signals
from jaxssl.runs.signals import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_for_a_stop(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert not stop.after(1)
        os.kill(os.getpid(), number)
        assert stop.after(2)
        assert stop.reason == number.name
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_the_process():
    code = (
        "import os, signal\n"
        "from jaxssl.runs.signals import StopRequest\n"
        "with StopRequest():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('asked', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('not reached')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "asked\n"
    assert ended.returncode == -signal.SIGTERM


def test_several_hosts_stop_at_the_step_that_jax_names(monkeypatch):
    """JAX listens for SIGTERM itself; SIGINT is passed on to it, and every host stops at its step."""
    sent = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        signals.multihost_utils, "reached_preemption_sync_point", lambda done: done == 5
    )
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert signal.getsignal(signal.SIGTERM) is before
        monkeypatch.setattr(signals.os, "kill", lambda process, number: sent.append(number))
        signal.raise_signal(signal.SIGINT)
        assert sent == [signal.SIGTERM]
        assert not stop.after(4)
        assert stop.after(5)
        assert stop.reason == "SIGINT"
    with StopRequest() as stop:  # another host was asked
        assert stop.after(5)
        assert stop.reason == "SIGTERM"
