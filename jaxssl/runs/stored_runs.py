"""Reads runs from object stores. A run is stored under these names:

    mirror.json                        random identity of the run
    lease.json                         which machine writes the run at present (`lease.py`)
    config.json, tokenizer/, …         as in the local folder of a run
    checkpoints/STEP/…                 as Orbax wrote them
    checkpoints/STEP.complete.json     size and sha256 of each file of the checkpoint, written last; a
                                       checkpoint without it is incomplete and is ignored

The checkpoints of a finetuning are below `pretrained/seed-N`. A run that was copied to the store by hand has
neither mirror.json nor the lists; it can be read, and all its checkpoints count as complete.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from jaxssl.data.stores.json_types import Limits
from jaxssl.data.stores.lease import LEASE
from jaxssl.data.stores.names import SHA256, inside
from jaxssl.data.stores.store import Missing, Store, cache_folder, folder_here, in_parallel, is_url

IDENTITY, COMPLETE = "mirror.json", ".complete.json"
STEP = re.compile(r"((?:.*/)?checkpoints/\d+)(?:/.*|\.complete\.json)")
ARRAYS = "/state/"  # part of the names of a checkpoint's large files


@dataclass(frozen=True)
class Identity:
    """The content of mirror.json, which tells whether a local folder and a stored run belong together."""

    id: str
    """Random name of the run."""
    url: str = ""
    """Address at which the run was begun."""


@dataclass(frozen=True)
class ListedFile:
    """A file of a complete checkpoint."""

    size: Annotated[int, Limits(0)]
    """Its size in bytes."""
    sha256: Annotated[str, SHA256]
    """Its hash, in hexadecimal."""


@dataclass(frozen=True)
class ListedStep:
    """The content of the list that completes a checkpoint."""

    files: dict[str, ListedFile]
    """All files of the checkpoint, by their names in its folder."""


def run_folder(run: str | Path) -> Path:
    """Returns the local folder of `run`: the folder itself, or one in the cache for a URL."""
    return folder_here(run, "runs")


class StoredRun:
    """The files of a run on an object store, listed once when the object is made.

    Attributes:
      sizes: Size of every file in bytes, by name.
      steps: Files of every complete checkpoint, by its name, such as "checkpoints/40".
      broken: Files of incomplete checkpoints.
      others: Files that belong to no checkpoint.
      is_mirrored: Whether a run has written the files (`mirrored`), so that checkpoints have lists of
        their files; False for a run that was copied by hand.

    Args:
      run: URL of the run's folder.
    """

    def __init__(self, run: str | Path):
        self.store = Store(run)
        self.sizes = {name: n for name, n in self.store.sizes().items() if name != LEASE}
        self.is_mirrored = any(name == IDENTITY or name.endswith(COMPLETE) for name in self.sizes)
        self.steps: dict[str, list[str]] = {}
        self.broken: list[str] = []
        self.others = [name for name in self.sizes if not STEP.fullmatch(name)]
        for name in self.sizes:
            found = None if name.endswith(COMPLETE) else STEP.fullmatch(name)
            if found:
                if not self.is_mirrored or found[1] + COMPLETE in self.sizes:
                    self.steps.setdefault(found[1], []).append(name)
                else:
                    self.broken.append(name)

    def download(self, names: list[str], folder: Path) -> None:
        """Downloads the files `names` into `folder`, comparing their sizes only."""
        self.store.download_all({name: self.sizes[name] for name in names}, folder)

    def download_step(self, step: str, folder: Path, *, arrays: bool = True) -> None:
        """Downloads the files of a checkpoint, comparing them with the sizes and sha256 of its list.

        Args:
          step: Name of the checkpoint, a key of `steps`.
          folder: Local folder of the run.
          arrays: Whether to download the arrays, too, and not only the small files.

        Raises:
          InputError: A file cannot be read, or differs from the list.
        """
        if not self.is_mirrored:
            self.download(
                [name for name in self.steps[step] if arrays or ARRAYS not in name], folder
            )
            return
        listed = self.store.read_json(step + COMPLETE, ListedStep).files
        files = {f"{step}/{name}": file for name, file in listed.items()}

        def fetch(name: str) -> None:
            path, file = inside(folder, name, self.store.url), files[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            self.store.download(name, path, file.size, file.sha256)

        in_parallel(fetch, [name for name in files if arrays or ARRAYS not in name])


@contextlib.contextmanager
def opened(run: str | Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """Opens a run for reading, from a local folder or from an object store.

    Args:
      run: Folder of the run, or its URL.

    Yields:
      The local folder to read, and a function that must be called before arrays are read: given a name
      such as "checkpoints/40" or "seed-0/checkpoints", it downloads the arrays of the checkpoints below
      that name. A local folder is given as it is, and the function does nothing. For a URL the folder is a
      temporary one, which holds all files of the run except the arrays.

    Raises:
      Missing: There are no files at the URL.
      InputError: A file of the store cannot be read.
    """
    if not is_url(run):
        yield Path(run), lambda below: None
        return
    stored = StoredRun(run)
    if not stored.sizes:
        raise Missing(f"{run} does not exist")
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="reading-", dir=cache_folder()) as name:
        folder = Path(name)
        stored.download(stored.others, folder)
        for step in stored.steps:
            stored.download_step(step, folder, arrays=False)

        def download_arrays(below: str) -> None:
            for step in stored.steps:
                if f"{step}/".startswith(f"{below}/"):
                    stored.download_step(step, folder)

        yield folder, download_arrays
