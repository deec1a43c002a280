"""The folders of a run's checkpoints as they are on disk, and the way back to an earlier one."""

import shlex
from pathlib import Path
from typing import Any, TypedDict

from jaxssl.data.stores.json_files import read_json
from jaxssl.errors import InputError
from jaxssl.runs.checkpoint_hashes import damage

LARGEST_STEP = 2**31 - 1  # the step of a state is an int32
ASIDE = ".aside"  # suffix of a checkpoint that is moved out of the way


class _Notes(TypedDict, total=False):
    """What Orbax writes into `_CHECKPOINT_METADATA`. Nothing of it reaches a state, so it has no hash."""

    item_handlers: dict[str, Any] | str | None
    metrics: dict[str, Any] | None
    performance_metrics: dict[str, Any] | None
    init_timestamp_nsecs: int | None
    commit_timestamp_nsecs: int | None
    custom_metadata: dict[str, Any] | None


READ_AT_START = {"_CHECKPOINT_METADATA": _Notes, "metrics/metrics": dict[str, Any]}


def complete_steps(checkpoints: Path) -> list[int]:
    """Returns the steps of all checkpoints in the folder `checkpoints` that are complete, ascending.

    Orbax renames the folder of a checkpoint to the number of its step when it is complete.
    """
    if not checkpoints.is_dir():
        return []
    names = [path.name for path in checkpoints.iterdir()]
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def check_folder(checkpoints: Path) -> None:
    """Checks that the small files of all checkpoints can be read, before Orbax does.

    Args:
      checkpoints: Folder of the run's checkpoints, which need not exist.

    Raises:
      InputError: There is something else, a name that is no step, or a damaged file.
    """
    if not checkpoints.exists():
        return
    if not checkpoints.is_dir():
        raise InputError(f"{checkpoints} is no folder; move it away")
    for path in sorted(checkpoints.iterdir()):
        if not path.name.isdigit():
            continue
        if not path.name.isascii() or str(int(path.name[:20])) != path.name or not path.is_dir():
            raise InputError(f"{path} is no checkpoint; move it away: {move_aside(path)}")
        if int(path.name) > LARGEST_STEP:
            raise InputError(
                f"{path} is no checkpoint, steps end at {LARGEST_STEP}; move it away: {move_aside(path)}"
            )
        for name, kind in READ_AT_START.items():
            if not (path / name).exists():
                continue
            try:
                read_json(path / name, kind)
            except InputError as error:
                back = way_back(checkpoints, int(path.name))
                raise InputError(f"checkpoint {path} is damaged: {error}; {back}") from error


def way_back(checkpoints: Path, step: int) -> str:
    """Returns how to go on without the checkpoint of a step, as the end of an error message.

    The latest whole checkpoint before it is named, or one after it if there is none before.

    Args:
      checkpoints: Folder of the run's checkpoints.
      step: Step of the checkpoint that cannot be used.
    """
    steps = complete_steps(checkpoints)
    earlier = [other for other in reversed(steps) if other < step]
    aside = [step]
    for other in earlier + [other for other in steps if other > step]:
        if damage(checkpoints / str(other)) is None:
            moves = " && ".join(move_aside(checkpoints / str(number)) for number in aside)
            return f"that of step {other} is whole; to use it, move the other away: {moves}"
        if other < step:
            aside.append(other)
    return "there is no other whole checkpoint; begin again, with run set to another folder"


def move_aside(path: Path) -> str:
    """Returns the shell command that renames the folder of a checkpoint, so that no run reads it.

    Args:
      path: The folder.
    """
    target = path.with_name(path.name + ASIDE)
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}{ASIDE}-{number}")
    return f"mv {shlex.quote(str(path))} {shlex.quote(str(target))}"
