"""The API reference: replaces each block `{public-names} PACKAGE` of a page by the names that it exports.

The names are those of `__all__`, in groups by the module that defines them, so that the reference follows the
code. Each group begins with the docstring of its module, which holds equations and a glossary of shapes.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import Any

BLOCK = re.compile(r"^```\{public-names\} *(\S+)\n```$", re.MULTILINE)


def setup(app: Any) -> dict[str, Any]:
    """Registers with Sphinx."""
    app.connect("source-read", fill_page)
    return {"parallel_read_safe": True}


def fill_page(app: Any, page: str, source: list[str]) -> None:
    """Handles Sphinx's event `source-read`: fills in every block of a page."""
    source[0] = BLOCK.sub(lambda block: reference_of(block[1]), source[0])


def reference_of(name: str) -> str:
    """Returns the reference of one package or module as Markdown with reStructuredText inside."""
    package = importlib.import_module(name)
    parts = [_rst(f".. automodule:: {name}\n   :no-members:\n")]
    for module, names in groups(package).items():
        if module != name:
            parts.append(f"## {module.removeprefix(name + '.')}\n")
            parts.append(_rst(f".. automodule:: {module}\n   :no-members:\n   :no-index:\n"))
        parts += [_rst(directive(path)) for path in names]
    return "\n".join(parts)


def groups(package: ModuleType) -> dict[str, list[str]]:
    """Returns the import paths of the exported names by the module that defines them, as they stand there."""
    found: dict[str, list[str]] = {}
    for owner in owners(package):
        for name in sorted(public_names(owner), key=lambda name: _line(getattr(owner, name))):
            module = _module_of(owner, getattr(owner, name))
            found.setdefault(module, []).append(f"{owner.__name__}.{name}")
    return dict(sorted(found.items(), key=lambda item: (item[0] != package.__name__, item[0])))


def owners(package: ModuleType) -> list[ModuleType]:
    """Returns what names are imported from: a package with `__all__` itself, or else its modules."""
    if hasattr(package, "__all__") or not hasattr(package, "__path__"):
        return [package]
    names = [f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__)]
    return [importlib.import_module(name) for name in names]


def public_names(module: ModuleType) -> list[str]:
    """Returns the names that a module exports: its `__all__`, or else the classes and functions in it."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    kinds = (ast.ClassDef, ast.FunctionDef)
    body = ast.parse(inspect.getsource(module)).body
    return [n.name for n in body if isinstance(n, kinds) and not n.name.startswith("_")]


def _module_of(owner: ModuleType, value: Any) -> str:
    """Returns the module of the project that defines a value; the owner itself for a constant."""
    name = getattr(value, "__module__", None) or owner.__name__
    return name if name.startswith("jaxssl") else owner.__name__


def _line(value: Any) -> int:
    """Returns the line on which a class or function is defined; 0 for a constant."""
    is_code = inspect.isclass(value) or inspect.isfunction(value)
    return inspect.getsourcelines(value)[1] if is_code else 0


def directive(path: str) -> str:
    """Returns the autodoc directive for one name, as reStructuredText."""
    owner, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(owner), name)
    if inspect.isclass(value):
        return f".. autoclass:: {path}\n   :members:\n   :special-members: __call__\n"
    return f".. auto{'function' if inspect.isroutine(value) else 'data'}:: {path}\n"


def _rst(text: str) -> str:
    return f"```{{eval-rst}}\n{text}```\n"
