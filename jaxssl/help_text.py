"""Lets `help()` show the fields of dataclasses, whose docstrings Python itself keeps nowhere."""

import ast
import contextlib
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

HEADING = "Fields:"
_plain: dict[Any, str] = {}  # class -> its docstring as it stands in the source


class _DocstringWithFields:
    """A `__doc__` that is put together when it is first asked for, since the source has to be read for it."""

    def __get__(self, instance: object, owner: type) -> str:
        owner.__doc__ = with_fields(owner)
        return owner.__doc__


def show_fields(classes: Iterable[Any]) -> None:
    """Adds the fields with their types, defaults and docstrings to the docstring of every dataclass.

    Args:
      classes: Classes and other objects; those that are no dataclasses or NamedTuples are left alone.
    """
    for kind in classes:
        has_fields = dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")
        if isinstance(kind, type) and has_fields and kind not in _plain:
            _plain[kind] = inspect.cleandoc(kind.__doc__ or "")
            _show(kind)


def _show(kind: Any) -> None:
    # Of a class with a metaclass of its own, pydoc takes `__doc__` as it is stored, without `__get__`.
    kind.__doc__ = _DocstringWithFields() if type(kind) is type else with_fields(kind)


@contextlib.contextmanager
def without_fields() -> Iterator[None]:
    """Hides the fields again as a context manager, for what prints them in its own way."""
    for kind, text in _plain.items():
        kind.__doc__ = text
    try:
        yield
    finally:
        for kind in _plain:
            _show(kind)


def with_fields(kind: type) -> str:
    """Returns the docstring of the dataclass `kind` with a list of its fields."""
    lines = []
    for declaration, text in field_docstrings(kind).values():
        lines += [f"  {declaration}", textwrap.indent(text, "    ")]
    return "\n".join([_plain[kind], "", HEADING, *lines])


def field_docstrings(kind: type) -> dict[str, tuple[str, str]]:
    """Reads the fields of a class and of the classes that it inherits from.

    Args:
      kind: A dataclass or NamedTuple.

    Returns:
      The declaration (`name: type = default`) and the docstring of every field, by its name.
    """
    found: dict[str, tuple[str, str]] = {}
    for part in reversed(kind.__mro__):
        body = _classes(part.__module__).get(part.__name__, [])
        for line, below in pairwise([*body, None]):
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
                continue
            text = ""
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                text = inspect.cleandoc(str(below.value.value))
            found[line.target.id] = ast.unparse(line), text
    names = set(getattr(kind, "_fields", None) or (f.name for f in dataclasses.fields(kind)))
    return {name: entry for name, entry in found.items() if name in names}


@cache
def _classes(module: str) -> dict[str, list[ast.stmt]]:
    """The statements of every class at the top of a module, by its name; none without a source."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not file.endswith(".py"):
        return {}
    tree = ast.parse(Path(file).read_bytes())
    return {node.name: node.body for node in tree.body if isinstance(node, ast.ClassDef)}
