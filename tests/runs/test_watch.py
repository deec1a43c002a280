"""Signs of life: processes that only keep watch; one is killed, stopped, or stands still."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from jaxssl.exit_codes import ExitCode
from jaxssl.runs import watch as watch_module
from jaxssl.runs.watch import Watch

KEEP_WATCH = """
import sys, time
from jaxssl.runs.watch import Watch
run, host, hosts, stuck = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
watch = Watch(run, host=host, hosts=hosts, dead_after=2, stuck_after=stuck)
with watch, watch.training(0):
    print("ready", flush=True)
    for step in range(1, int(sys.argv[5]) + 1):
        time.sleep(0.05)
        watch.step = step
    if stuck:
        time.sleep(60)
    if len(sys.argv) > 6:
        raise ValueError(sys.argv[6])
"""


def start(folder, host, hosts, stuck=0.0, steps=2000, error=()):
    command = [sys.executable, "-c", KEEP_WATCH, folder, host, hosts, stuck, steps, *error]
    process = subprocess.Popen(
        [str(part) for part in command], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("victim", [0, 2])
def test_the_others_leave_and_name_who_is_gone(tmp_path, how, victim):
    hosts = [start(tmp_path, host, 3) for host in range(3)]
    time.sleep(0.5)
    os.kill(hosts[victim].pid, how)
    began = time.monotonic()
    for host, process in enumerate(hosts):
        if host != victim:
            error = process.communicate(timeout=30)[1]
            assert process.returncode == ExitCode.HOST_IS_GONE
            assert f"error: host {victim} (" in error
            assert f"process {hosts[victim].pid}) has not been heard of for 2 s" in error
            assert f"Host {host} leaves at step" in error
            assert len(error.strip().splitlines()) == 1
    assert time.monotonic() - began < 10
    hosts[victim].kill()
    hosts[victim].communicate()


@pytest.mark.slow
def test_a_host_that_ends_by_an_error_is_missed(tmp_path):
    """Its own line is its error; the others would wait for it in the next collective."""
    hosts = [start(tmp_path, host, 3, steps=5, error=["bug"] * (host == 1)) for host in range(2)]
    hosts.append(start(tmp_path, 2, 3))
    ended = [(process.communicate(timeout=30)[1], process.returncode) for process in hosts]
    assert ended[0] == ("", 0)
    assert ended[1][1] == 1
    assert ended[1][0].strip().endswith("ValueError: bug")
    assert ended[2][1] == ExitCode.HOST_IS_GONE
    told = ") has ended by an error, which its output shows; its last step was 5. Host 2 leaves at step"
    assert told in ended[2][0]
    assert ended[2][0].startswith("error: host 1 (")


@pytest.mark.slow
def test_a_host_that_has_finished_is_not_missed(tmp_path):
    hosts = [start(tmp_path, 0, 2, steps=2), start(tmp_path, 1, 2, steps=80)]
    assert [process.wait(timeout=30) for process in hosts] == [0, 0]
    assert [process.communicate()[1] for process in hosts] == ["", ""]


def test_a_loop_that_stands_still_shows_its_stacks_and_leaves(tmp_path):
    process = start(tmp_path, 0, 1, stuck=1.5, steps=3)
    error = process.communicate(timeout=30)[1]
    assert process.returncode == ExitCode.STUCK
    assert "most recent call first" in error
    assert 'File "<string>", line 12' in error  # where it sleeps
    assert error.strip().splitlines()[-1].startswith("error: host 0 has finished no step for")
    assert "after step 3;" in error


@pytest.mark.slow
def test_a_pause_is_no_lack_of_progress(tmp_path):
    """Stopped (SIGSTOP, Ctrl-Z) for longer than `stuck_after`, which a minute later would end it."""
    process = start(tmp_path, 0, 1, stuck=1.5, steps=60)
    time.sleep(0.2)
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    error = process.communicate(timeout=30)[1]
    assert process.returncode == ExitCode.STUCK  # in the end it sleeps
    assert "after step 60;" in error


@pytest.fixture
def ended(monkeypatch):
    """The lines and codes with which the watch would end the process; the clock is set by `watch._clock`."""
    calls = []
    monkeypatch.setattr(watch_module, "_end", lambda line, code: calls.append((line, code)))
    return calls


def test_a_host_that_never_came_is_named(tmp_path, ended):
    watch = Watch(tmp_path, host=0, hosts=2, dead_after=60)
    watch._signs = {1: watch_module._Sign("", 0.0)}
    watch._clock = 61.0
    watch._look_at(1)
    ((line, code),) = ended
    assert code == ExitCode.HOST_IS_GONE
    told = "host 1 has given no sign of life in .*hosts for 60 s: it has not started, or does not share"
    assert re.match(told, line)


def test_after_an_error_of_another_host_there_is_time_for_an_own_one(tmp_path, ended):
    """All hosts may fail at the same time, and each one's own line says more."""
    watch = Watch(tmp_path, host=0, hosts=2, dead_after=60)
    watch.folder.mkdir()
    (watch.folder / "1").write_text("7 machine 12 3 failed", encoding="utf8")
    watch._signs = {1: watch_module._Sign("7 machine 12 2 ", 0.0)}
    for watch._clock in (1.0, 1.0 + watch_module.GRACE, 1.1 + watch_module.GRACE):
        assert not ended
        watch._look_at(1)
    assert ended[0][0].startswith("host 1 (machine, process 12) has ended by an error")


def test_outside_of_training_no_host_is_stuck(tmp_path):
    watch = Watch(tmp_path, host=0, hosts=1, dead_after=60, stuck_after=60)
    assert watch._clock - watch._moved < 0
    with watch.training(3):
        assert (watch.step, watch._moved) == (3, 0.0)
    assert watch._clock - watch._moved < 0


def test_one_host_alone_writes_nothing(tmp_path):
    with Watch(tmp_path / "run", host=0, hosts=1, dead_after=60, stuck_after=60) as watch:
        watch.step = 1
    assert not (tmp_path / "run").exists()
