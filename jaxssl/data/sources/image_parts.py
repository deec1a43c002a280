"""Tells folders that are parts of a data set, such as ImageNet's train/ and val/, from classes."""

import re
from dataclasses import dataclass
from os.path import commonprefix
from typing import Literal

Part = Literal["", "train", "valid"]  # "" where the source does not say

# Names of folders, also such as "train2017" or "test_images"
PART = re.compile(
    r"(?:(?P<train>train(?:ing)?)|(?P<valid>val(?:id(?:ation)?)?|dev)|(?P<test>test(?:ing)?))"
    r"(?:[-_]?(?:set|images|\d+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Parts:
    """The parts of a data set that its folders stand for."""

    depth: int = 0
    """Number of folders that all files have in common, above those of the parts."""
    kinds: dict[str, Literal["train", "valid"]] | None = None
    """Part by the name of its folder; None if the folders are no parts."""

    @property
    def why_left_out(self) -> str:
        """Why a file belongs to no part, as a phrase that follows a number."""
        return f"outside of {' and '.join(f'{name}/' for name in self.kinds or ())}"

    def of(self, name: str) -> tuple[Part | None, list[str]]:
        """Returns the part that the file `name` belongs to, and the folders below that part.

        The part is "" where folders are no parts, and None for a file that belongs to none.
        """
        folders = name.split("/")[:-1]
        if self.kinds is None:
            return "", folders
        below = folders[self.depth :]
        return (self.kinds.get(below[0]), below[1:]) if below else (None, [])


def parts_of(names: list[str]) -> Parts:
    """Finds the parts of a data set among its folders.

    The topmost folders that differ are parts if all are named like one, and there are some to train on
    and some to hold out. Images of test/ are held out only where there is no val/.

    Args:
      names: Names of all files, with "/" between folders.
    """
    folders = [name.split("/")[:-1] for name in names]
    nested = [path for path in folders if path]
    if not nested:
        return Parts()
    depth = len(commonprefix(nested))
    kinds = {path[depth]: _kind(path[depth]) for path in nested if len(path) > depth}
    held_out = next((kind for kind in ("valid", "test") if kind in kinds.values()), None)
    if None in kinds.values() or "train" not in kinds.values() or held_out is None:
        return Parts()
    wanted: dict[str | None, Literal["train", "valid"]] = {"train": "train", held_out: "valid"}
    return Parts(depth, {name: wanted[kind] for name, kind in kinds.items() if kind in wanted})


def _kind(folder: str) -> str | None:
    """Returns the kind of part, "train", "valid" or "test", that a folder is named for, or None."""
    found = PART.fullmatch(folder)
    return found.lastgroup if found else None
