"""The help of a recipe: its docstring, then every field that a flag can change, grouped by what it is for."""

import ast
import dataclasses
import inspect
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxssl.help_text import field_docstrings, without_fields
from jaxssl.training.flags import as_flag

GROUPS = {
    "Data": ("data",),
    "Objective and network": ("objective", "task", "from_scratch"),
    "Optimizer": ("optimizer", "microbatches", "average", "layer_decay"),
    "Run": (),  # all that is in no other group
    "Devices and hosts": ("mesh", "hosts", "restarts"),
}  # the first parts of the fields' paths
WIDEST = 110


def help_of(config: Any, description: str, program: str) -> str:
    """Returns the help of a recipe.

    Args:
      config: Its configuration.
      description: Text above the fields.
      program: The command, without flags.
    """
    lines = [f"usage: {program} [--FIELD VALUE …]", "", description.strip()]
    sections: dict[str, list[str]] = {title: [] for title in GROUPS}
    with without_fields():
        for prefix, part in _parts(config):
            for title, entries in _entries(prefix, part).items():
                if prefix:
                    entries = [f"  {prefix}: {_summary(type(part))}", *entries]
                sections[title] += entries
    for title, entries in sections.items():
        if entries:
            lines += ["", f"{title}:", *entries]
    return "\n".join(lines)


def docstring_of(recipe: str | Path) -> str:
    """Returns the docstring of a recipe's file; "" if it has none."""
    return ast.get_docstring(ast.parse(Path(recipe).read_bytes())) or ""


def _parts(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every dataclass within a configuration, with the path of its fields."""
    yield prefix, config
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from _parts(value, f"{prefix}.{entry.name}" if prefix else entry.name)


def _entries(prefix: str, part: Any) -> dict[str, list[str]]:
    """Returns the lines about the fields of one dataclass by the title of their group."""
    found: dict[str, list[str]] = {}
    hints = typing.get_type_hints(type(part))
    for name, (_, text) in field_docstrings(type(part)).items():
        value, kind = getattr(part, name), _kind(hints[name])
        if dataclasses.is_dataclass(value) or kind is None:
            continue
        path = f"{prefix}.{name}" if prefix else name
        flag = f"    {_flag(path, kind)}  (default: {_shown(value)})"
        found.setdefault(_group(path), []).extend([flag, *_wrapped(text)])
    return found


def _group(path: str) -> str:
    first = path.split(".")[0]
    return next((title for title, firsts in GROUPS.items() if first in firsts), "Run")


def _kind(hint: Any) -> str | None:
    """Returns what a flag takes, such as "INT"; None for a type whose values cannot be written as a flag."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (int, float, str, bool):
        return str(hint.__name__).upper()
    if hint is type(None):
        return "None"
    if origin is typing.Literal:
        return "|".join(map(str, arguments))
    kinds = [_kind(argument) for argument in arguments if argument is not ...]
    if None in kinds or not kinds:
        return None
    words = [kind for kind in kinds if kind is not None]
    if origin is tuple:
        return " ".join([*words, *["..."] * (... in arguments)])
    return "|".join(words) if origin in (typing.Union, types.UnionType) else None


def _flag(path: str, kind: str) -> str:
    """Returns a flag with the kind of its value, such as "--steps INT"."""
    if kind != "BOOL":
        return f"{as_flag(path)} {kind}"
    above, _, last = path.rpartition(".")
    return f"{as_flag(path)} | {as_flag(f'{above}.no_{last}' if above else f'no_{last}')}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return str(value) if value != "" else "empty"


def _wrapped(text: str) -> list[str]:
    width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    indent = " " * 8
    plain = " ".join(text.split())
    return textwrap.wrap(plain, max(width, 50), initial_indent=indent, subsequent_indent=indent)


def _summary(kind: type) -> str:
    """Returns the name of a class and the first paragraph of its docstring."""
    paragraph = (inspect.getdoc(kind) or "").split("\n\n")[0]
    return f"{kind.__name__}. {' '.join(paragraph.split())}"
