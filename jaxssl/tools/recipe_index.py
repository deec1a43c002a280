"""The index of the recipes: paper, size, data and time of each, read from the tables of `configs/README.md`.

The index is read as text. No recipe is run and JAX is not imported.
"""

import re
from itertools import groupby
from typing import NamedTuple

from jaxssl.tools.shipped import recipes_folder

INDEX = "README.md"
FINETUNING = "Finetuning"  # heading of the recipes that `jaxssl finetune` runs
HEADING = re.compile(r"## (.+)")
ROW = re.compile(r"\| \[(\w+)\]\(\1\.py\) \| (.+) \|")


class Entry(NamedTuple):
    """One recipe of the index."""

    group: str
    """Heading that the recipe stands under, such as "Text encoders"."""
    name: str
    """Name of the recipe, which is that of its file without ".py"."""
    paper: str
    """Method with authors and year."""
    size: str
    """Shape of the network, such as "L12 H768" for 12 layers of width 768."""
    data: str
    """Data that the recipe reads."""
    time: str
    """Duration of the run and the hardware; "–" where it is not known."""

    @property
    def is_finetuning(self) -> bool:
        """Whether `jaxssl finetune` runs the recipe, and not `jaxssl train`."""
        return self.group == FINETUNING


COLUMNS = Entry._fields[1:]


def read_index() -> list[Entry]:
    """Reads all entries, in the order of the file."""
    group, entries = "", []
    for line in (recipes_folder() / INDEX).read_text(encoding="utf-8").splitlines():
        if heading := HEADING.fullmatch(line):
            group = heading[1]
        elif row := ROW.fullmatch(line):
            entries.append(Entry(group, row[1], *row[2].split(" | ")))
    return entries


def show_index(entries: list[Entry]) -> str:
    """Lays out `entries` as a table for a terminal, one line a recipe below the heading of its group."""
    rows = [COLUMNS, *(entry[1:] for entry in entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]

    def line(cells: tuple[str, ...]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return "  " + "  ".join(padded).rstrip()

    lines = [line(COLUMNS)]
    for group, members in groupby(entries, key=lambda entry: entry.group):
        lines += ["", group, *(line(entry[1:]) for entry in members)]
    return "\n".join(lines)
