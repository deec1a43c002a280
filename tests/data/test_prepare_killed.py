"""SIGKILL of everything at random moments: the set that comes out in the end has the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from jaxssl.data.prepared.manifest import partial_of
from jaxssl.data.rows import Rows, open_rows
from tests.data.tiny_corpus import ENVIRONMENT, write_text
from tests.data.tiny_images import write_folder


def command(text, folder):
    options = "--documents blank_line --length 32 --vocab-size 320 --shard-characters 20000"
    return [
        *(sys.executable, "-m", "jaxssl.tools.main", "prepare", text, "--into", str(folder)),
        *(*options.split(), "--workers", "2", "--valid", "0.1"),
    ]


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr


def kill_after(seconds, arguments):
    """Runs a command in a process group of its own; kills all of it. True if it was done before."""
    process = subprocess.Popen(
        arguments,
        start_new_session=True,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def is_gone(group):
    """Whether all processes of a process group have ended within five seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("kills", [10])
def test_killed_at_random_moments(tmp_path, kills):
    text = write_text(tmp_path / "text.txt", count=3_000)
    began = time.monotonic()
    run(command(text, tmp_path / "undisturbed"))
    whole = time.monotonic() - began

    folder, moments = tmp_path / "set", random.Random(kills)
    killed = 0
    while killed < kills:
        if kill_after(moments.uniform(0.3, 1.0) * whole, command(text, folder)):
            assert content(folder) == content(tmp_path / "undisturbed")
            shutil.rmtree(folder)  # it was quicker than the moment: anew
        else:
            killed += 1
            assert not (folder.exists() and partial_of(folder).exists())
    run(command(text, folder))
    assert content(folder) == content(tmp_path / "undisturbed")
    assert not partial_of(folder).exists()
    open_rows(Rows(str(folder)), seed=0).batch(0)


@pytest.mark.slow
def test_workers_end_with_their_parent(tmp_path):
    """Only the parent is killed: nobody goes on writing behind its back."""
    text = write_text(tmp_path / "text.txt", count=6_000)
    process = subprocess.Popen(
        command(text, tmp_path / "set"),
        start_new_session=True,
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not any(tmp_path.glob("set.partial/units/*.json")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail("a worker is still there")


def heed_interrupts():
    """Takes back that the shell which has started the tests lets programs ignore Ctrl-C, where it does."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("between", [0.01, 0.05, 0.1])
def test_a_second_interrupt_does_not_hang(tmp_path, between):
    """Ctrl-C twice, while workers are started and while they work: the command and its workers end."""
    text = write_text(tmp_path / "text.txt", count=6_000)
    for number in range(4):
        process = subprocess.Popen(
            command(text, tmp_path / "set"),
            start_new_session=True,
            preexec_fn=heed_interrupts,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 60
        while not (tmp_path / "set.partial" / "units").is_dir() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.15 * number)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(between)
        try:
            assert process.wait(timeout=20) != 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert is_gone(process.pid)


@pytest.mark.slow
def test_images_killed_at_random_moments(tmp_path):
    write_folder(tmp_path / "images", per_label=400)
    options = ["--size", "32", "--valid", "0.1", "--shard-bytes", "60000", "--workers", "2"]
    program = [sys.executable, "-m", "jaxssl.tools.main", "prepare", str(tmp_path / "images")]
    began = time.monotonic()
    run([*program, "--into", str(tmp_path / "undisturbed"), *options])
    whole, moments, killed = time.monotonic() - began, random.Random(0), 0
    command = [*program, "--into", str(tmp_path / "set"), *options]
    while killed < 3:
        if kill_after(moments.uniform(0.3, 1.0) * whole, command):
            shutil.rmtree(tmp_path / "set")  # it was quicker than the moment: anew
        else:
            killed += 1
    run(command)
    assert content(tmp_path / "set") == content(tmp_path / "undisturbed")
