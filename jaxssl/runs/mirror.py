"""Copies a run from its local folder to an object store while it is training.

    with mirrored("s3://bucket/runs/x"):
        …                     # works in run_folder("s3://bucket/runs/x")

Orbax writes to file systems (and, through TensorStore, to gs://) but not to s3://. A run with a URL
therefore works in a local folder, whatever the store, and a thread uploads new files, so that the training
loop never waits for the network. At the beginning the run is downloaded if the store has later checkpoints
than the local folder. Checkpoints that are deleted locally are deleted from the store. A failing store does
not stop the run before its end: the thread tries again, and the local folder is complete in any case.

A run has one writer: a lock holds on one machine, also for the folder of a run that is not on a store, and a
lease on the store holds over all machines.
"""

import contextlib
import hashlib
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
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.stores.lease import Lease, leased
from jaxssl.data.stores.locks import LOCK, hold_lock
from jaxssl.data.stores.store import Missing, Store, in_parallel, is_url
from jaxssl.errors import InputError
from jaxssl.runs.stored_runs import COMPLETE, IDENTITY, Identity, ListedStep, StoredRun, run_folder

PAUSE, PAUSE_AFTER_FAILURE = 1.0, 30.0  # seconds between two scans of the local folder
# Folders with checkpoints: of a pretraining, and of the seeds of a finetuning.
CHECKPOINT_FOLDERS = ("checkpoints", "*/*/checkpoints")
METRICS = "metrics.jsonl"
LEFT_OUT = ("checkpoints", "hosts")  # folders whose files are not uploaded one by one
UNFINISHED = (".partial", ".tmp")  # suffixes of files and folders that are still being written
# Files by which the folder of something else is known
OF_SET = {"manifest.json": "a prepared set"}
OF_PRETRAINING = {"config.json": "a pretraining"}
OF_FINETUNING = {
    f"{part}finetuning.json": "a finetuning" for part in ("", "pretrained/", "scratch/")
}
FAILED = "failed"  # sent to the other hosts instead of the run's identity


@contextlib.contextmanager
def mirrored(run: str | Path, *, finetuning: bool = False) -> Iterator[None]:
    """Context manager in which this process alone writes a run, and keeps it uploaded if it has a URL.

    With several hosts, which must share the local folder, the first one locks and uploads. A start that fails
    before the run has a checkpoint or a metric leaves nothing on the store.

    Args:
      run: Local folder of the run, or its URL.
      finetuning: Whether the run is a finetuning, and no pretraining.

    Raises:
      InputError: Another process writes the run, the store fails at the beginning or at the end, the local
        folder or the store contains another run, a run of the other kind or a prepared set, or the hosts do
        not share the local folder.
    """
    folder = run_folder(run)
    with contextlib.ExitStack() as stack:
        problem: InputError | None = None
        try:
            if jax.process_index() == 0:
                stack.enter_context(_alone(folder, run))
                if is_url(run):
                    stack.enter_context(_stored(run, folder))
                _check_kind(folder, run, OF_PRETRAINING if finetuning else OF_FINETUNING)
        except InputError as error:
            problem = error
        _share(folder, run, problem)
        yield


def _check_kind(folder: Path, run: str | Path, others: dict[str, str]) -> None:
    """Refuses the folder of something else, whose files the run would mix with its own or replace."""
    for name, what in {**OF_SET, **others}.items():
        if (folder / name).is_file():
            raise InputError(
                f"{run} is the folder of {what}, which has a {name}; set run to another folder"
            )


@contextlib.contextmanager
def _stored(run: str | Path, folder: Path) -> Iterator[None]:
    """Holds the lease of a stored run and uploads its folder during the body."""
    _check_is_run(StoredRun(run))
    with leased(Store(run)) as lease:
        mirror = synchronize(StoredRun(run), folder)
        mirror.lease = lease
        with _copying(mirror):
            yield


class Mirror:
    """Uploads a local folder to a store, checkpoint by checkpoint.

    Attributes:
      lease: The lease of the run, which is looked at before anything is changed in the store; or None.

    Args:
      store: The run's folder on the object store.
      folder: Local folder of the run.
      steps: Names of the checkpoints that are complete in the store; the set is kept up to date.
      is_new: Whether the store held nothing of the run before.
    """

    def __init__(self, store: Store, folder: Path, steps: set[str], *, is_new: bool = False):
        self.store, self.folder, self.steps, self.is_new = store, folder, steps, is_new
        self.lease: Lease | None = None
        self._copied: dict[str, tuple[int, int]] = {}  # name -> time and size when it was uploaded

    def copy(self, *, everything: bool = False) -> None:
        """Uploads new checkpoints, the latest first, and deletes those that were deleted locally.

        Other changed files are uploaded before a new checkpoint, and also without one if `everything` is
        True.
        """
        here = local_steps(self.folder)
        if self.lease and (everything or here.keys() != self.steps):
            self.lease.check()
        new = sorted(here.keys() - self.steps, key=_number, reverse=True)
        if new or everything:
            self._copy_files()
        for step in new:
            self._copy_step(step, here[step])
        for step in self.steps - here.keys():
            self._remove_step(step)

    def forget(self) -> bool:
        """Removes a run that is new and has neither a checkpoint nor a metric, from here and the store.

        Returns:
          Whether there was such a run.
        """
        if not self.is_new or local_steps(self.folder) or any(self.folder.rglob(METRICS)):
            return False
        if self.lease:
            self.lease.check()
        self.store.delete(StoredRun(self.store.url).sizes)
        shutil.rmtree(self.folder, ignore_errors=True)
        return True

    def _copy_files(self) -> None:
        changed = {
            name: now
            for name, now in _files_here(self.folder).items()
            if self._copied.get(name) != now
        }
        in_parallel(lambda name: self.store.upload(self.folder / name, name), changed)
        self._copied |= changed

    def _copy_step(self, step: str, folder: Path) -> None:
        """Uploads all files of a checkpoint, then their list; gives up if it is deleted meanwhile."""
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
        """Deletes a checkpoint from the store: its list first, which makes it incomplete, then the files."""
        files = self.store.read_json(step + COMPLETE, ListedStep).files
        self.store.delete([step + COMPLETE])
        self.store.delete(f"{step}/{name}" for name in files)
        self.steps.remove(step)


def synchronize(stored: StoredRun, folder: Path) -> Mirror:
    """Downloads a run from the object store if the store is ahead of the local folder.

    The run is downloaded if there is no local folder of it, or if the store has later checkpoints. If the
    local folder has later ones, it is kept, and `Mirror.copy` uploads what the store lacks. Incomplete
    checkpoints are deleted from the store.

    Args:
      stored: The run in the object store. An empty one gets a new identity.
      folder: Local folder of the run.

    Returns:
      The mirror that uploads the folder.

    Raises:
      InputError: The store has files that no run has written, or the local folder is of another run.
    """
    _check_is_run(stored)
    store, stored_id, local_id = stored.store, None, None
    if IDENTITY in stored.sizes:
        stored_id = store.read_json(IDENTITY, Identity).id
    if (folder / IDENTITY).is_file():
        local_id = read_json(folder / IDENTITY, Identity).id
    if local_id is not None and local_id != stored_id and not local_steps(folder):
        local_id = None  # a start that failed has left it, and there is nothing to lose
    if local_id is not None and local_id != stored_id:
        raise InputError(
            f"{folder} belongs to another run, which was at {store.url} before, and has its checkpoints; "
            "remove that folder to go on, or set run to another URL"
        )
    identity = {"id": stored_id or uuid.uuid4().hex, "url": store.url}
    if stored_id is None:
        store.write_json(IDENTITY, identity)
    if local_id is None or _is_behind(folder, stored):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stored.download([name for name in stored.others if name != IDENTITY], folder)
        for step in stored.steps:
            stored.download_step(step, folder)
        write_json(folder / IDENTITY, identity, indent=None)  # last: now the folder is complete
    store.delete(stored.broken)
    return Mirror(store, folder, set(stored.steps), is_new=stored_id is None)


def _check_is_run(stored: StoredRun) -> None:
    """Raises InputError where an object store holds files that no run has written."""
    if stored.sizes and IDENTITY not in stored.sizes:
        raise InputError(
            f"{stored.store.url} holds files that no run has put there; set run to another URL, and start to "
            f"{stored.store.url} to begin with the parameters that are there"
        )


def local_steps(folder: Path) -> dict[str, Path]:
    """Returns the folders of the complete checkpoints below the local `folder`, by name ("checkpoints/40").

    Orbax renames the folder of a checkpoint to the number of its step when it is complete.
    """
    return {
        str(path.relative_to(folder)): path
        for parent in CHECKPOINT_FOLDERS
        for path in folder.glob(f"{parent}/*")
        if path.name.isdigit()
    }


@contextlib.contextmanager
def _copying(mirror: Mirror) -> Iterator[None]:
    """Uploads in a thread during the body, and the rest at the end of the body, also after an error."""
    leave = threading.Event()
    thread = threading.Thread(target=_keep_copying, args=(mirror, leave), daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        leave.set()
        thread.join()
        with contextlib.suppress(Exception):  # the error of the body is the one to raise
            if not mirror.forget():
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
        except Exception as error:  # printed; if it persists, the end of the run raises it
            pause = PAUSE_AFTER_FAILURE
            line = " ".join(str(error).split())
            print(f"warning: {line}; the run goes on, and it is tried again", file=sys.stderr)


@contextlib.contextmanager
def _alone(folder: Path, run: str | Path) -> Iterator[None]:
    """Holds a lock, so that only one process of a machine writes a run.

    It lies in the folder of the run, and beside the local folder of a stored run, which may be replaced.
    """
    path = folder.with_name(f"{folder.name}.lock") if is_url(run) else folder / LOCK
    is_new = not path.parent.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"run={str(run)!r} cannot be a folder, since {error.filename} is in the way; set run to another"
        ) from error
    try:
        with hold_lock(path, str(run)):
            yield
    finally:
        if is_new:  # and nothing was written into it
            with contextlib.suppress(OSError):
                path.parent.rmdir()


def _share(folder: Path, run: str | Path, problem: InputError | None) -> None:
    """Raises InputError on all hosts if the first one has failed, or if one does not share its folder."""
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
        raise InputError(f"host 0 could not begin to write {run}; it says why")
    if (apart := np.flatnonzero((everyone != everyone[0]).any(axis=1))).size:
        raise InputError(
            f"host {apart[0]} has no part in {folder} of host 0: hosts that run {run} work in one "
            "folder; set the environment variable JAXSSL_CACHE to a folder that all hosts share, or run "
            "to one"
        )


def _bytes_of(text: str) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)


def _is_behind(folder: Path, stored: StoredRun) -> bool:
    """Returns whether the store has a later checkpoint than the folder, of the pretraining or of a seed."""
    latest: dict[str, int] = {}
    for step in local_steps(folder):
        parent = step.rpartition("/")[0]
        latest[parent] = max(latest.get(parent, -1), _number(step))
    return any(_number(step) > latest.get(step.rpartition("/")[0], -1) for step in stored.steps)


def _number(step: str) -> int:
    return int(step.rpartition("/")[2])


def _sizes(folder: Path) -> dict[str, int]:
    """Returns the sizes in bytes of all files below a folder, by name; files may vanish meanwhile."""
    sizes = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                sizes[str(path.relative_to(folder))] = path.stat().st_size
    return sizes


def _files_here(folder: Path) -> dict[str, tuple[int, int]]:
    """Returns time of change and size of all files that belong to no checkpoint, by name."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [
            name for name in folders if name not in LEFT_OUT and not name.endswith(UNFINISHED)
        ]
        for name in names:
            path = Path(parent, name)
            if path.suffix not in UNFINISHED and name != IDENTITY:
                with contextlib.suppress(FileNotFoundError):
                    state = path.stat()
                    found[str(path.relative_to(folder))] = (state.st_mtime_ns, state.st_size)
    return found
