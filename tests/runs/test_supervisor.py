"""Restarts: how often, after which exit codes, and what a signal does. Children are tiny commands."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxssl.exit_codes import ExitCode
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
        ((75, 77), 77, 2),  # another host, or this one, was asked to stop
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


TRAINING = """
import signal, sys, time
from jaxssl.runs.supervisor import end_with_supervisor
def ask(number, frame):
    print("asked", flush=True)
    time.sleep(0.3)  # a second signal would be told as well
    sys.exit(75)
signal.signal(signal.SIGTERM, ask)
end_with_supervisor()
print("ready", __import__("os").getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def supervised():
    """A supervisor in a process group of its own, and the process id of its child."""
    program = (
        "import sys\n"
        "from jaxssl.runs.supervisor import supervise\n"
        f"sys.exit(supervise(99, [sys.executable, '-c', {TRAINING!r}]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    ready, child = process.stdout.readline().split()
    assert ready == "ready"
    yield process, int(child)
    for left in (process.pid, int(child)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_signal_is_passed_on_once_and_ends_it(supervised, send):
    """The child saves and ends with an exit code after which it would be restarted otherwise."""
    process, _ = supervised
    send(process.pid, signal.SIGTERM)
    told, errors = process.communicate(timeout=20)
    assert (process.returncode, told, errors) == (75, "asked\n", "")


def test_a_killed_supervisor_leaves_no_orphan(supervised):
    process, child = supervised
    process.kill()
    told, errors = process.communicate(timeout=20)  # until the child has closed its ends, too
    assert told == "asked\n"
    assert errors == "the supervisor of this run has ended: the run saves and ends\n"
    wait_for_states({child: ("", "Z")})


def test_ctrl_z_pauses_the_child_too(supervised):
    process, child = supervised
    for number, states in ((signal.SIGTSTP, "T"), (signal.SIGCONT, "RS")):
        process.send_signal(number)
        wait_for_states({process.pid: states, child: states})


def wait_for_states(wanted):
    """Waits until every process is in one of its wanted states."""
    end = time.monotonic() + 10
    while any(state(process) not in states for process, states in wanted.items()):
        assert time.monotonic() < end, {process: state(process) for process in wanted}
        time.sleep(0.01)


def state(process):
    """The letter of a process's state in /proc, or nothing if there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf8").rsplit(")")[1].split()[0]
    except FileNotFoundError:
        return ""


def test_asked_between_two_children_it_starts_no_other(tmp_path, monkeypatch):
    def ask(seconds):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(supervisor.time, "sleep", ask)
    assert supervise(9, child(tmp_path, 75, 0)) == ExitCode.SAVED_NOT_FINISHED
    assert len((tmp_path / "count").read_text()) == 1


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
