"""Finds the lines of Python code that the instructions of a compiled program were traced from.

XLA prints tables before the program, whose entries refer to one another by number:

    FileNames
    1 "jaxssl/models/layers/mlp.py"

    FunctionNames
    1 "FeedForward.__call__"

    FileLocations
    1 {file_name_id=1 function_name_id=1 line=41 …}

    StackFrames
    1 {file_location_id=1 parent_frame_id=1}

An instruction has `stack_frame_id=1` in its metadata. The printed parent is one more than the number of the
frame that called it, so that 1 stands for none.
"""

import re
from pathlib import PurePath
from typing import NamedTuple

FRAME = re.compile(r"stack_frame_id=(\d+)")
TABLE = re.compile(r"^(FileNames|FunctionNames|FileLocations|StackFrames)$")
NAME = re.compile(r'^(\d+) "(.*)"$')
LOCATION = re.compile(r"^(\d+) \{file_name_id=(\d+) function_name_id=(\d+) line=(\d+)")
STACK = re.compile(r"^(\d+) \{file_location_id=(\d+) parent_frame_id=(\d+)")


class Frame(NamedTuple):
    """A line of Python code that was running when an instruction was traced."""

    file: str
    """Path of the file, with slashes."""
    function: str
    """Qualified name of the function, such as "FeedForward.__call__"."""
    line: int
    """Number of the line."""

    def __str__(self) -> str:
        """Returns the place, the file without the folders above `jaxssl` or the package's own."""
        parts = PurePath(self.file).parts
        for anchor in ("site-packages", "jaxssl"):
            if anchor in parts:
                start = len(parts) - 1 - parts[::-1].index(anchor)
                parts = parts[start + (anchor == "site-packages") :]
                break
        return f"{'/'.join(parts[-4:])}:{self.line}"


class SourceLines:
    """The tables of a program's source lines.

    Args:
      text: The program, as `compiled.as_text()` returns it. Without tables, no instruction has a stack.
    """

    def __init__(self, text: str):
        files: dict[int, str] = {}
        functions: dict[int, str] = {}
        locations: dict[int, Frame] = {}
        self._frames: dict[int, tuple[int, int]] = {}
        table = ""
        for line in text.splitlines():
            if line.endswith("{") and (line.startswith("%") or line.startswith("ENTRY")):
                break  # the program itself begins here
            if found := TABLE.match(line):
                table = found[1]
            elif table in ("FileNames", "FunctionNames") and (found := NAME.match(line)):
                (files if table == "FileNames" else functions)[int(found[1])] = found[2]
            elif table == "FileLocations" and (found := LOCATION.match(line)):
                number, file, function, row = (int(group) for group in found.groups())
                locations[number] = Frame(files[file], functions[function], row)
            elif table == "StackFrames" and (found := STACK.match(line)):
                number, location, parent = (int(group) for group in found.groups())
                self._frames[number] = location, parent - 1
        self._locations = locations

    def stack(self, metadata: str) -> list[Frame]:
        """Returns the frames of an instruction, innermost first; an empty list where it names none.

        Args:
          metadata: The instruction's attributes as printed, with `stack_frame_id=N` among them.
        """
        found = FRAME.search(metadata)
        number, stack = int(found[1]) if found else 0, []
        while number in self._frames:
            location, parent = self._frames[number]
            stack.append(self._locations[location])
            number = parent if parent < number else 0  # a caller stands before its callee
        return stack
