"""Locks of folders: one process at a time, named; those of processes that have ended lock nothing."""

import dataclasses
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from jaxssl.data.stores import locks
from jaxssl.data.stores.locks import Holder, Locked, hold_lock, holder_of
from jaxssl.errors import InputError

HOLDS = """
import sys, time
from pathlib import Path
from jaxssl.data.stores.locks import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jaxssl.lock"


def test_the_holder_is_named_and_the_file_removed(path):
    with hold_lock(path):
        assert holder_of(path).process == os.getpid()
        with pytest.raises(Locked) as told, hold_lock(path, "runs/x"):
            pass
        assert (
            f"runs/x is being written by process {os.getpid()} on {socket.gethostname()}, since 2"
            in (str(told.value))
        )
        assert told.value.holder == holder_of(path)
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), hold_lock(path):
        raise ZeroDivisionError
    assert not path.exists()


def test_another_process_that_is_killed(path):
    other = subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE)
    try:
        other.stdout.readline()
        with pytest.raises(Locked, match=f"process {other.pid} on"), hold_lock(path):
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert path.exists()
    with hold_lock(path):
        assert holder_of(path).process == os.getpid()


def left_by(path, **changes):
    """A lock of a process that is not there, which a child of that process still has open."""
    fields = {**vars(Holder.here()), "process": 2**22 + 1, "since": "then"}
    path.write_text(json.dumps({**fields, **changes}))
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_a_stale_lock_is_broken(path, monkeypatch):
    monkeypatch.setattr(locks, "SETTLED", 0.01)
    descriptor = left_by(path)
    with hold_lock(path):
        assert holder_of(path).process == os.getpid()
    os.close(descriptor)


def test_locks_of_other_machines_are_not_broken(path, monkeypatch):
    monkeypatch.setattr(locks, "SETTLED", 0.01)
    descriptor = left_by(path, host="elsewhere")
    with pytest.raises(Locked, match="on elsewhere, since then"), hold_lock(path):
        pass
    os.close(descriptor)
    with hold_lock(path):
        pass


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"process": "x"}'])
def test_a_lock_that_names_nobody(path, content):
    descriptor = left_by(path)
    path.write_text(content)
    with pytest.raises(Locked, match="is being written by another process"), hold_lock(path):
        pass
    os.close(descriptor)


def test_one_that_waits(path):
    told, order = [], []
    ready, leave = threading.Event(), threading.Event()

    def first():
        with hold_lock(path):
            ready.set()
            leave.wait(20)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    ready.wait(20)
    with hold_lock(path, waiting=lambda holder: (told.append(holder), leave.set())):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert [holder.process for holder in told] == [os.getpid()]


def test_a_file_system_without_locks(path, monkeypatch):
    """The name in the file decides alone."""

    def none(*_):
        raise OSError(locks.WITHOUT_LOCKS[0], "no locks")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with hold_lock(path), pytest.raises(Locked), hold_lock(path):
        pass
    path.write_text(json.dumps({**vars(Holder.here()), "process": 2**22 + 1}))
    with hold_lock(path):
        pass


def test_who_is_dead():
    here = Holder.here()
    assert not here.is_dead
    assert time.strftime("%Y") in str(here)
    assert dataclasses.replace(here, process=2**22 + 1).is_dead
    for other in ({"process": 2**70}, {"host": "elsewhere"}, {"machine": "a container"}):
        assert not dataclasses.replace(here, **{"process": 2**22 + 1, **other}).is_dead


def test_what_is_no_lock_is_left_alone(path, tmp_path):
    (tmp_path / "thesis").write_text("mine")
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to(tmp_path / "thesis")):
        make()
        with pytest.raises(InputError, match=r"jaxssl\.lock is not the file of a lock; remove it"):
            hold_lock(path).__enter__()
        path.rmdir() if path.is_dir() else path.unlink()
    assert (tmp_path / "thesis").read_text() == "mine"
