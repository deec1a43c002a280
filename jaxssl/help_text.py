"""Lets `help()` show the fields of dataclasses, whose docstrings Python itself keeps nowhere."""

import ast
import contextlib
import dataclasses
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

HEADING = "Fields:"


class _DocstringWithFields:
    """A `__doc__` that is put together when it is first asked for, since the source has to be read for it."""

    def __init__(self, text: str):
        self.text, self.whole = text, ""

    are_fields_shown = True

    def __get__(self, instance: object, owner: type) -> str:
        if not self.are_fields_shown:
            return self.text
        if not self.whole:
            self.whole = f"{inspect.cleandoc(self.text)}\n\n{HEADING}\n{_fields(owner)}"
        return self.whole


def show_fields(classes: Iterable[Any]) -> None:
    """Adds the fields with their types, defaults and docstrings to the docstring of every dataclass.

    Args:
      classes: Classes and other objects; those that are no dataclasses or NamedTuples are left alone.
    """
    for value in classes:
        has_fields = isinstance(value, type) and (
            dataclasses.is_dataclass(value) or hasattr(value, "_fields")
        )
        if has_fields and not isinstance(vars(value).get("__doc__"), _DocstringWithFields):
            kind: Any = value
            kind.__doc__ = _DocstringWithFields(value.__doc__ or "")


@contextlib.contextmanager
def without_fields() -> Iterator[None]:
    """Hides the fields again as a context manager, for what prints them in its own way."""
    _DocstringWithFields.are_fields_shown = False
    try:
        yield
    finally:
        _DocstringWithFields.are_fields_shown = True


def field_docstrings(kind: type) -> dict[str, tuple[str, str]]:
    """Reads the fields of a class and of the classes that it inherits from.

    Args:
      kind: A dataclass or NamedTuple whose source can be read.

    Returns:
      The declaration (`name: type = default`) and the docstring of every field, by its name.
    """
    found: dict[str, tuple[str, str]] = {}
    for part in reversed(kind.__mro__):
        if part is object or not part.__module__.startswith("jaxssl"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        body = tree.body if isinstance(tree, ast.ClassDef) else []
        for line, below in zip(body, [*body[1:], None], strict=True):
            if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
                continue
            text = ""
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                text = inspect.cleandoc(str(below.value.value))
            found[line.target.id] = ast.unparse(line), text
    return found


def _fields(kind: type) -> str:
    lines = []
    for declaration, text in field_docstrings(kind).values():
        lines += [f"  {declaration}", textwrap.indent(text, "    ")]
    return "\n".join(lines)
