"""Restarts: how often, after which exit codes, and what a signal does. Children are tiny commands."""

import signal
import subprocess
import sys
import time

import pytest

from jaxssl.runs import supervisor
from jaxssl.runs.supervisor import CHILD, is_supervisor, supervise


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(supervisor, "PAUSE", 0.0)


def child(tmp_path, *endings):
    """A command that ends in the given ways, one after another, and counts in a file how often it ran."""
    code = (
        "import os, pathlib, signal, sys\n"
        f"assert os.environ[{CHILD!r}] == '1'\n"
        f"count = pathlib.Path({str(tmp_path / 'count')!r})\n"
        "number = len(count.read_text()) if count.exists() else 0\n"
        "count.write_text('x' * (number + 1))\n"
        f"ending = {endings!r}[number]\n"
        "os.kill(os.getpid(), -ending) if ending < 0 else sys.exit(ending)\n"
    )
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("endings", "code", "runs"),
    [
        ((0,), 0, 1),
        ((75, 0), 0, 2),
        ((1, 75, 76), 76, 3),  # two restarts, and no more
        ((1, -signal.SIGKILL, 2), 2, 3),
        ((2,), 2, 1),  # an error that the user has to correct
        ((130,), 130, 1),  # Ctrl-C
        ((1, 1, -signal.SIGKILL), 137, 3),
    ],
)
def test_a_command_is_restarted(tmp_path, capfd, endings, code, runs):
    assert supervise(2, child(tmp_path, *endings)) == code
    assert len((tmp_path / "count").read_text()) == runs
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        f"the run ended with code {ending}; restart {number} of 2"
        for number, ending in enumerate(endings[: runs - 1], 1)
    ]


def test_a_signal_is_passed_on_and_ends_it(tmp_path):
    """The child saves and ends with an exit code after which it would be restarted otherwise."""
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    program = (
        "import sys\n"
        "from jaxssl.runs.supervisor import supervise\n"
        f"sys.exit(supervise(99, [sys.executable, '-c', {code!r}]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (75, "")
    assert time.monotonic() - began < 20


def test_handlers_are_restored(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    supervise(1, child(tmp_path, 0))
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_child_is_no_supervisor(monkeypatch):
    monkeypatch.delenv(CHILD, raising=False)
    assert is_supervisor(1)
    assert not is_supervisor(0)
    monkeypatch.setenv(CHILD, "1")
    assert not is_supervisor(1)
