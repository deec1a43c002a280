"""Malformed Hugging Face folders: each is refused in one line, soon, in little memory, and nothing is read
that is not in the folder."""

import os
import resource
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.interop.huggingface.tensor_files import open_tensors
from tests.malformed.hugging_face import variants, write_whole

SECONDS = 20  # of a folder; beside other work the slowest takes two
MEMORY = 2**31  # bytes of addresses that reading may take, most of them for threads


class Reads:
    """The files that this process opens, by Python's audit events; one hook serves all tests."""

    def __init__(self) -> None:
        self.paths: list[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, details: tuple) -> None:
        if (
            self.paths is not None
            and event == "open"
            and isinstance(details[0], (str, bytes, Path))
        ):
            self.paths.append(os.path.realpath(os.fsdecode(details[0])))


READS = Reads()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write_whole(tmp_path_factory.mktemp("whole") / "folder")


@pytest.fixture(scope="module")
def outside(tmp_path_factory, whole) -> Path:
    """A folder with good files, which nothing but the links and names of bad folders leads to."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copy(whole / "model.safetensors", folder / "secret.safetensors")
    shutil.copy(whole / "config.json", folder / "secret.json")
    shutil.copy(whole / "vocab.txt", folder / "secret.txt")
    return folder


@contextmanager
def limits():
    """Ends what takes too long, and refuses memory beyond the limit."""

    def stop(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.alarm(0)


def ending(folder: Path, outside: Path) -> str:
    """What is wrong with how the reading of a folder ended; empty where it was refused as it should be."""
    READS.paths = []
    began = time.perf_counter()
    try:
        with limits():
            read_folder(folder)
        return "was read"
    except InputError as error:
        line = str(error)
        if "\n" in line or not 20 < len(line) < 1000:
            return f"has a message that is no clear line: {line!r}"
    except BaseException as error:
        return f"ended in {type(error).__name__}: {error}"
    finally:
        paths, READS.paths = READS.paths, None
    led_out = [path for path in paths if path.startswith((str(outside), "/etc", "/dev/zero"))]
    return (
        f"read {led_out[0]}"
        if led_out
        else f"took {time.perf_counter() - began:.0f} s" * (time.perf_counter() - began > SECONDS)
    )


def test_the_whole_folder_is_read(whole):
    assert read_folder(whole).missing == ()


@pytest.mark.slow
def test_two_hundred_folders(whole, outside, tmp_path):
    found, wrong = 0, {}
    for name, change in variants(outside):
        folder = tmp_path / "folder"
        shutil.copytree(whole, folder)
        change(folder)
        if problem := ending(folder, outside):
            wrong[name] = problem
        shutil.rmtree(folder)
        found += 1
    assert found >= 200
    assert wrong == {}


def test_headers_alone(whole, outside, tmp_path):
    """The variants of the tensors' file, without a network: these are many and fast."""
    found = 0
    for name, change in variants(outside):
        if not name.startswith(("a header", "cut at", "the header", "data_offsets", "the index")):
            continue
        folder = tmp_path / str(found)
        shutil.copytree(whole, folder)
        change(folder)
        found += 1
        with pytest.raises(InputError), limits():
            open_tensors(folder)
    assert found > 70
