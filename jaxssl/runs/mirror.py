"""A run on an object store works in a folder of this machine, and a thread copies it to the store.

    with mirrored("s3://bucket/runs/x"):
        …                     # works in run_folder("s3://bucket/runs/x")

Orbax writes to file systems (and, through TensorStore, to gs://) but not to s3://; so it writes to the folder
here on every store alike, and the loop never waits for the network. What the store lacks of a run is brought
here first, what is removed here is removed there, and a store that fails does not stop the run before its
end: the thread tries again, and what could not be copied is whole in the folder here.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.json_files import write_json
from jaxssl.data.stores.store import Missing, Store, in_parallel, is_url
from jaxssl.errors import InputError
from jaxssl.runs.stored_runs import COMPLETE, IDENTITY, StoredRun, run_folder

PAUSE, PAUSE_AFTER_FAILURE = 1.0, 30.0  # seconds between two looks at the folder
PLACES = ("checkpoints", "*/*/checkpoints")  # of a pretraining; of the seeds of a finetuning
LEFT_OUT = ("checkpoints", "hosts")  # folders that are not copied like others
UNFINISHED = (".partial", ".tmp")
FAILED = "failed"


@contextlib.contextmanager
def mirrored(run: str | Path) -> Iterator[None]:
    """Within it the folder of a run on an object store is copied there; nothing for other runs.

    Of many hosts, which must share the folder, the first one copies. Raises InputError where the store
    fails at the begin or at the end, and where the folder holds another run.
    """
    if not is_url(run):
        yield
        return
    folder = run_folder(run)
    with contextlib.ExitStack() as stack:
        problem: InputError | None = None
        try:
            if jax.process_index() == 0:
                stack.enter_context(_alone(folder, run))
                stack.enter_context(_copying(bring(StoredRun(run), folder)))
        except InputError as error:
            problem = error
        _share(folder, run, problem)
        yield


class Mirror:
    """Copies a folder to a store, checkpoint by checkpoint. `steps` are those of the store."""

    def __init__(self, store: Store, folder: Path, steps: set[str]):
        self.store, self.folder, self.steps = store, folder, steps
        self._copied: dict[str, tuple[int, int]] = {}  # name -> time and size of what was copied

    def copy(self, *, everything: bool = False) -> None:
        """Copies new checkpoints, newest first, and removes those that are gone; files go along."""
        here = steps_here(self.folder)
        new = sorted(here.keys() - self.steps, key=_number, reverse=True)
        if new or everything:
            self._copy_files()
        for step in new:
            self._copy_step(step, here[step])
        for step in self.steps - here.keys():
            self._remove_step(step)

    def _copy_files(self) -> None:
        changed = {
            name: now
            for name, now in _files_here(self.folder).items()
            if self._copied.get(name) != now
        }
        in_parallel(lambda name: self.store.upload(self.folder / name, name), changed)
        self._copied |= changed

    def _copy_step(self, step: str, folder: Path) -> None:
        """All files, then the list of them. A checkpoint that is removed meanwhile is left out."""
        files = _sizes(folder)
        try:
            hashes = {name: file_sha256(folder / name) for name in files}
            in_parallel(lambda name: self.store.upload(folder / name, f"{step}/{name}"), files)
        except (FileNotFoundError, Missing):
            if _sizes(folder) == files:
                raise
        if _sizes(folder) != files:
            self.store.delete(f"{step}/{name}" for name in files)
            return
        listed = {name: {"size": files[name], "sha256": hashes[name]} for name in files}
        self.store.write_json(step + COMPLETE, {"files": listed})
        self.steps.add(step)

    def _remove_step(self, step: str) -> None:
        """The list first: from then on there is no such checkpoint."""
        files = self.store.read_json(step + COMPLETE)["files"]
        self.store.delete([step + COMPLETE])
        self.store.delete(f"{step}/{name}" for name in files)
        self.steps.remove(step)


def bring(stored: StoredRun, folder: Path) -> Mirror:
    """Makes the folder what the store holds; one that is ahead of it has what was not copied yet."""
    store, there, here = stored.store, None, None
    if IDENTITY in stored.sizes:
        there = store.read_json(IDENTITY)["id"]
    elif stored.sizes:
        raise InputError(
            f"{store.url} holds files that no run has put there; choose another --run, and begin with "
            f"what was learned there by --start {store.url}"
        )
    if (folder / IDENTITY).is_file():
        here = json.loads((folder / IDENTITY).read_text(encoding="utf8"))["id"]
    if here is not None and here != there:
        raise InputError(
            f"{folder} is what another run has left that was at {store.url}, with its checkpoints; "
            "remove that folder to go on, or choose another --run"
        )
    identity = {"id": there or uuid.uuid4().hex, "url": store.url}
    if there is None:
        store.write_json(IDENTITY, identity)
    if here is None or _is_behind(folder, stored):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stored.download([name for name in stored.others if name != IDENTITY], folder)
        for step in stored.steps:
            stored.download_step(step, folder)
        write_json(folder / IDENTITY, identity, indent=None)  # last: now it is whole
    store.delete(stored.broken)
    return Mirror(store, folder, set(stored.steps))


def steps_here(folder: Path) -> dict[str, Path]:
    """The finished checkpoints of a run's folder; Orbax gives them their names when they are."""
    return {
        str(path.relative_to(folder)): path
        for place in PLACES
        for path in folder.glob(f"{place}/*")
        if path.name.isdigit()
    }


@contextlib.contextmanager
def _copying(mirror: Mirror) -> Iterator[None]:
    """A thread copies within the body; the rest is copied at its end, also after an error."""
    leave = threading.Event()
    thread = threading.Thread(target=_keep_copying, args=(mirror, leave), daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        leave.set()
        thread.join()
        with contextlib.suppress(Exception):  # the body's own error is the one to tell of
            mirror.copy(everything=True)
        raise
    leave.set()
    thread.join()
    try:
        mirror.copy(everything=True)
    except InputError as error:
        raise InputError(
            f"{error}. The run is whole in {mirror.folder}: the same command copies what is missing"
        ) from error


def _keep_copying(mirror: Mirror, leave: threading.Event) -> None:
    pause = PAUSE
    while not leave.wait(pause):
        try:
            mirror.copy()
            pause = PAUSE
        except Exception as error:  # told of; the end of the run raises it if it stays
            pause = PAUSE_AFTER_FAILURE
            line = " ".join(str(error).split())
            print(f"warning: {line}; the run goes on, and it is tried again", file=sys.stderr)


@contextlib.contextmanager
def _alone(folder: Path, run: str | Path) -> Iterator[None]:
    """One process of a machine works at a run. The lock goes with the process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another process works at {run}; wait for it, or end it") from error
        yield


def _share(folder: Path, run: str | Path, problem: InputError | None) -> None:
    """Raises InputError on all hosts where one has no part in the folder of the first."""
    if jax.process_count() == 1:
        if problem:
            raise problem
        return
    multihost_utils.sync_global_devices("the run is here")
    path = folder / IDENTITY
    seen = FAILED if problem else path.read_text(encoding="utf8") if path.is_file() else "nothing"
    everyone = np.asarray(multihost_utils.process_allgather(_bytes_of(seen)))
    if problem:
        raise problem
    if (everyone[0] == _bytes_of(FAILED)).all():
        raise InputError(f"host 0 could not bring {run} to its machine; it says why")
    if (apart := np.flatnonzero((everyone != everyone[0]).any(axis=1))).size:
        raise InputError(
            f"host {apart[0]} has no part in {folder} of host 0: hosts that run {run} work in one "
            "folder; set JAXSSL_CACHE to one that all share, or choose a --run there"
        )


def _bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)


def _is_behind(folder: Path, stored: StoredRun) -> bool:
    """Whether the store has a later checkpoint of anything than the folder."""
    latest: dict[str, int] = {}
    for step in steps_here(folder):
        place = step.rpartition("/")[0]
        latest[place] = max(latest.get(place, -1), _number(step))
    return any(_number(step) > latest.get(step.rpartition("/")[0], -1) for step in stored.steps)


def _number(step: str) -> int:
    return int(step.rpartition("/")[2])


def _sizes(folder: Path) -> dict[str, int]:
    """Name -> bytes of all files below; less those that vanish while one looks."""
    sizes = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                sizes[str(path.relative_to(folder))] = path.stat().st_size
    return sizes


def _files_here(folder: Path) -> dict[str, tuple[int, int]]:
    """Name -> time and size of the files that are of no checkpoint."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            path = Path(parent, name)
            if path.suffix not in UNFINISHED and name != IDENTITY:
                with contextlib.suppress(FileNotFoundError):
                    state = path.stat()
                    found[str(path.relative_to(folder))] = (state.st_mtime_ns, state.st_size)
    return found
