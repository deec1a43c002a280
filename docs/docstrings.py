"""Connects docstrings with Sphinx: their text, the signatures of classes, and the defaults of fields."""

import dataclasses
import importlib
import inspect
from typing import Any

import jax
from docutils import nodes
from flax import nnx
from restructured_text import to_rst
from sphinx import addnodes
from sphinx.util.inspect import stringify_signature

from jaxssl.help_text import HEADING, field_docstrings

LONG = 60  # characters of a default value


def setup(app: Any) -> dict[str, Any]:
    """Registers with Sphinx."""
    jax.Array.__name__ = "Array"  # so that jaxtyping shows no private module of JAX with each shape
    app.connect("autodoc-process-docstring", convert, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", change_signature)
    app.connect("object-description-transform", show_default_as_written)
    return {"parallel_read_safe": True}


def convert(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Handles Sphinx's event `autodoc-process-docstring`: rewrites the lines of a docstring in place."""
    text = "\n".join(lines)
    if inspect.isclass(value):  # help() shows the fields there; here they follow one by one
        text = text.partition(f"\n{HEADING}\n")[0]
    if what == "data" and text.strip() == inspect.getdoc(type(value)):
        text = ""  # a constant without a docstring has that of its type
    text = to_rst(text)
    if what in ("attribute", "data", "property"):
        # A colon in the first line is no type, which napoleon would take it for.
        first, line_break, rest = text.partition("\n")
        text = first.replace(": ", ":\n") + line_break + rest
    lines[:] = text.split("\n")


def change_signature(
    app: Any, what: str, name: str, value: Any, options: Any, signature: Any, returned: Any
) -> tuple[str, str] | None:
    """Handles Sphinx's event `autodoc-process-signature`: what is shown behind the name of a class.

    Dataclasses, named tuples and protocols show nothing, for their fields follow. A network shows the
    parameters of its `__init__`, which Flax hides behind a metaclass.
    """
    if not inspect.isclass(value):
        return None
    is_protocol = getattr(value, "_is_protocol", False)
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields") or is_protocol:
        return "", ""
    if issubclass(value, nnx.Module):
        _, *parameters = inspect.signature(value.__init__).parameters.values()
        own = inspect.Signature(parameters)
        return stringify_signature(own, unqualified_typehints=True), ""
    return None


def show_default_as_written(app: Any, domain: str, kind: str, content: nodes.Element) -> None:
    """Handles `object-description-transform`: a long default of a field is shown as the code has it."""
    signature = content.parent[0]
    if kind != "attribute":
        return
    owner, _, name = signature["fullname"].rpartition(".")
    kind_of_owner = getattr(importlib.import_module(signature["module"]), owner, None)
    for part in signature.findall(addnodes.desc_annotation):
        text = part.astext().strip()
        if not text.startswith("=") or len(text) < LONG or not isinstance(kind_of_owner, type):
            continue
        declaration, _ = field_docstrings(kind_of_owner).get(name, ("", ""))
        written = declaration.partition(" = ")[2]
        part.clear()
        part += nodes.Text(f" = {written}" if written else "")
