"""Hashes of the files of a checkpoint: written before it is complete, compared before it is used.

    checkpoints/STEP/sha256.json    the step, and size and sha256 of each other file of the checkpoint

Orbax writes a checkpoint into a temporary folder, in the background, and renames that folder when all
hosts are done. Each host hashes the files that it has written itself; the first one adds those that all
share and writes the list, still in the temporary folder. A checkpoint that an older version has written
has no list, and is then only compared with the names of files that every checkpoint has.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import orbax.checkpoint as ocp

from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.stores.json_types import Limits, Matches
from jaxssl.errors import InputError

LIST = "sha256.json"
OF_HOST = ".sha256.json"  # end of the name of a host's own list, `process_N.sha256.json`
# Orbax changes the first one when it renames the folder, and writes the other one after that.
LEFT_OUT = (LIST, "_CHECKPOINT_METADATA", "commit_success.txt")
NEEDED = ("state/_METADATA", "state/manifest.ocdbt")
TEMPORARY = ".orbax-checkpoint-tmp"


@dataclass(frozen=True)
class HashedFile:
    """What a file of a checkpoint must be."""

    size: Annotated[int, Limits(0)]
    """Bytes of the file."""
    sha256: Annotated[str, Matches("[0-9a-f]{64}", "64 hexadecimal digits")]
    """Hash of the file."""


@dataclass(frozen=True)
class HashList:
    """What `sha256.json` holds."""

    step: Annotated[int, Limits(0)]
    """Number of optimizer steps of the state."""
    files: dict[str, HashedFile]
    """The files by their names relative to the folder of the checkpoint."""


class HashingHandler(ocp.StandardCheckpointHandler):
    """Saves arrays as Orbax does, and then hashes the files that this host has written."""

    async def async_save(self, directory: Any, *arguments: Any, **options: Any) -> Any:
        """Starts to save; the result is waited for in Orbax's thread in the background."""
        return [_Hashing(await super().async_save(directory, *arguments, **options), directory)]


class _Hashing:
    """Result of a save (a future of Orbax) that hashes this host's files when they are written."""

    def __init__(self, saving: Iterable[Any] | None, directory: Any):
        self.saving, self.directory = list(saving or ()), directory

    def result(self, timeout: float | None = None) -> None:
        """Waits for the files, then hashes them."""
        for future in self.saving:
            future.result(timeout)
        folder, own = Path(self.directory), f"process_{jax.process_index()}"
        files = {
            str(path.relative_to(folder)): _hashed(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and _host(path.relative_to(folder)) == own
        }
        write_json(folder / f"{own}{OF_HOST}", files, indent=None)

    def cancel(self) -> None:
        """Cancels the save."""
        for future in self.saving:
            future.cancel()


def write_list(checkpoints: Path, step: int) -> None:
    """Writes the list of a checkpoint that is not renamed yet; Orbax calls it on the first host.

    Args:
      checkpoints: Folder of the run's checkpoints.
      step: Step of the checkpoint.
    """
    (folder,) = checkpoints.glob(f"{step}{TEMPORARY}*")
    files: dict[str, Any] = {}
    for path in (folder / "state").glob(f"process_*{OF_HOST}"):
        files |= {f"state/{name}": entry for name, entry in read_json(path).items()}
        path.unlink()
    for name, path in _files(folder).items():
        if name not in files:
            files[name] = _hashed(path)
    write_json(folder / LIST, {"step": step, "files": files}, indent=None)


def damage(folder: Path, *, part: int = 0, parts: int = 1) -> str | None:
    """Returns what is wrong with a checkpoint, or None if it is whole.

    Args:
      folder: Folder of the checkpoint, named for its step.
      part: Which share of the files is hashed, from 0; the names of all files are compared in any case.
      parts: Number of shares.
    """
    found = _files(folder)
    if LIST not in found:
        missing = [name for name in NEEDED if name not in found]
        return f"{missing[0]} is missing" if missing else None
    try:
        listed = read_json(found[LIST], HashList)
    except InputError as error:
        return str(error)
    if str(listed.step) != folder.name:
        return f"it holds step {listed.step}; its folder has been renamed"
    for number, (name, entry) in enumerate(sorted(listed.files.items())):
        if name not in found:
            return f"{name} is missing"
        size = found[name].stat().st_size
        if size != entry.size:
            return f"{name} has {size} bytes and was saved with {entry.size}"
        if number % parts == part and file_sha256(found[name]) != entry.sha256:
            return f"{name} has another sha256 than it was saved with"
    return None


def _files(folder: Path) -> dict[str, Path]:
    """Returns the files of a checkpoint by their names, the list among them."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path for name, path in found.items() if name == LIST or path.name not in LEFT_OUT}


def _hashed(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": file_sha256(path)}


def _host(name: Path) -> str:
    """Returns `process_N` if the file `name` of the arrays was written by host N, "" if by the first host."""
    part = name.parts[0] if len(name.parts) > 1 else ""
    if part.startswith("ocdbt.process_"):
        return part.removeprefix("ocdbt.")
    return name.parts[1] if part == "array_metadatas" else ""
