"""A signal asks for a stop; the third Ctrl-C ends the process; with several hosts JAX decides on the step."""

import os
import queue
import re
import signal
import subprocess
import sys
import time

import jax
import pytest

from jaxssl.exit_codes import ExitCode
from jaxssl.runs import signals
from jaxssl.runs.signals import StopRequest
from jaxssl.runs.stop_signals import SIGNALS


@pytest.fixture(autouse=True)
def _without_nohup():
    """Tests may have been started by `nohup`, which ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_asks_for_a_stop_and_may_be_repeated(number, tmp_path, capfd):
    before = signal.getsignal(number)
    with StopRequest(tmp_path) as stop:
        assert not stop.after(1)
        for _ in range(3):  # from a cluster to all processes of a job, and from the supervisor
            os.kill(os.getpid(), number)
        assert stop.after(2)
        assert stop.reason == number.name
    assert signal.getsignal(number) is before
    told = f"{number.name}: the run ends when the state after this step is saved\n"
    assert capfd.readouterr().err == told


@pytest.mark.parametrize(
    ("steps", "lost"),
    [
        ((), "all 12 steps are lost: no checkpoint is complete"),
        (
            ("4", "8", "12.orbax-checkpoint-tmp"),
            "the 4 steps after the complete checkpoint of step 8 are lost",
        ),
        (("8", "12"), "nothing is lost: step 12 is saved"),
    ],
)
def test_the_second_ctrl_c_says_what_a_third_one_loses(tmp_path, monkeypatch, steps, lost):
    ended, told = [], queue.Queue()
    monkeypatch.setattr(signals, "SAME", 0.0)
    monkeypatch.setattr(signals, "_tell", told.put)  # captured output would lose a thread's lines
    monkeypatch.setattr(signals.os, "_exit", ended.append)
    for step in steps:
        (tmp_path / step).mkdir()
    lines = []
    with StopRequest(tmp_path) as stop:
        stop.after(12)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            lines.append(told.get(timeout=60))
    first, second, third = lines
    assert first == "SIGINT: the run ends when the state after this step is saved"
    assert re.fullmatch(
        f"SIGINT again: .* At the third Ctrl-C .* ends at once, and then {lost}", second
    )
    assert re.fullmatch(f"SIGINT for the third time: ended at once; {lost}", third)
    assert ended == [ExitCode.INTERRUPTED]


def test_the_third_ctrl_c_ends_a_process_whose_stderr_is_a_broken_pipe(tmp_path, monkeypatch):
    ended = queue.Queue()
    monkeypatch.setattr(signals, "SAME", 0.0)
    monkeypatch.setattr(signals.os, "_exit", ended.put)
    with StopRequest(tmp_path), monkeypatch.context() as broken:
        reading, writing = os.pipe()
        os.close(reading)
        broken.setattr(sys, "stderr", open(writing, "w"))  # noqa: SIM115 - it cannot be flushed
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert ended.get(timeout=60) == ExitCode.INTERRUPTED


@pytest.mark.slow
def test_a_loop_that_does_not_return_to_python_is_ended(tmp_path):
    """The main thread holds no lock of Python's, and reads no flag: as in a collective that hangs."""
    code = (
        "import ctypes, sys\n"
        "from jaxssl.runs.signals import StopRequest\n"
        "with StopRequest(sys.argv[1]):\n"
        "    print('ready', flush=True)\n"
        "    while True:\n"
        "        ctypes.CDLL(None).poll(None, 0, 60_000)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    for line in ("SIGINT: ", "SIGINT again: ", "SIGINT for the third time: "):
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith(line)
        time.sleep(signals.SAME)
    assert process.wait(timeout=20) == ExitCode.INTERRUPTED
    process.communicate()


@pytest.mark.slow
def test_a_closed_terminal_is_not_written_to(tmp_path):
    """SIGHUP comes when the terminal is gone, where printing is an error; the run saves and says nothing."""
    ours, terminal = os.openpty()
    code = (
        "import sys, time\n"
        "from jaxssl.runs.signals import StopRequest\n"
        "with StopRequest(sys.argv[1]) as stop:\n"
        "    print('ready', flush=True)\n"
        "    while not stop.after(1):\n"
        "        time.sleep(0.01)\n"
        "    print('saved', flush=True)\n"
        "sys.exit(77)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    assert os.read(ours, 99).strip() == b"ready"
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=20) == 77


def test_several_hosts_stop_at_the_step_that_jax_names(monkeypatch, tmp_path):
    """JAX listens for SIGTERM itself; SIGINT is passed on to it, and every host stops at its step."""
    sent = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        signals.multihost_utils, "reached_preemption_sync_point", lambda done: done == 5
    )
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest(tmp_path) as stop:
        assert signal.getsignal(signal.SIGTERM) is before
        monkeypatch.setattr(signals.os, "kill", lambda process, number: sent.append(number))
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert sent == [signal.SIGTERM]
        assert not stop.after(4)
        assert stop.after(5)
        assert stop.reason == "SIGINT"
    with StopRequest(tmp_path) as stop:  # another host was asked
        assert stop.after(5)
        assert stop.reason == "SIGTERM"
