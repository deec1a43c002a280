"""Runs on object stores, as they lie there, and reading one.

    mirror.json                        which run it is
    config.json, tokenizer/, …         as in a run's folder
    checkpoints/STEP/…                 as Orbax wrote them
    checkpoints/STEP.complete.json     their sizes and sha256, written last: a STEP without it is none

A finetuning has its checkpoints below pretrained/seed-N. A folder without mirror.json was copied there by
hand; it can be read, and all its checkpoints count as complete.
"""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxssl.data.stores.store import Missing, Store, cache_folder, folder_here, in_parallel, is_url

IDENTITY, COMPLETE = "mirror.json", ".complete.json"
STEP = re.compile(r"((?:.*/)?checkpoints/\d+)(?:/.*|\.complete\.json)")
ARRAYS = "/state/"  # in the names of the large files of a checkpoint


def run_folder(run: str | Path) -> Path:
    """Where a run works on this machine: its own folder; of a URL, one in the cache."""
    return folder_here(run, "runs")


class StoredRun:
    """What an object store holds of a run, by name of file.

    `steps`: "checkpoints/40" -> the files of every complete checkpoint; `broken`: files of others.
    `is_mirrored`: it was put there by a run; else checkpoints have no lists of their files.
    """

    def __init__(self, run: str | Path):
        self.store = Store(run)
        self.sizes = self.store.sizes()
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
        """Files of no checkpoint, or of one that was copied by hand."""
        self.store.download_all({name: self.sizes[name] for name in names}, folder)

    def download_step(self, step: str, folder: Path, *, arrays: bool = True) -> None:
        """The files of a checkpoint, compared with its list of them; or all but the large ones."""
        names = [name for name in self.steps[step] if arrays or ARRAYS not in name]
        if not self.is_mirrored:
            self.download(names, folder)
            return
        files = self.store.read_json(step + COMPLETE)["files"]

        def fetch(name: str) -> None:
            path, whole = folder / name, files[name.removeprefix(f"{step}/")]
            path.parent.mkdir(parents=True, exist_ok=True)
            self.store.download(name, path, whole["size"], whole["sha256"])

        in_parallel(fetch, names)


@contextlib.contextmanager
def opened(run: str | Path) -> Iterator[tuple[Path, Callable[[str], None]]]:
    """The folder of a run to be read, and a function that brings the arrays of the checkpoints below a name.

    Of a URL it is a temporary one, which holds all of the run but the arrays.
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

        def bring(below: str) -> None:
            for step in stored.steps:
                if f"{step}/".startswith(f"{below}/"):
                    stored.download_step(step, folder)

        yield folder, bring
