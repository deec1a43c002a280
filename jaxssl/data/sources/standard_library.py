"""The English text that ships with CPython: the language reference and the library's docstrings.

It serves as a corpus where there is no network. Docstrings are found by parsing the source files;
of the library's modules only the table of topics, `pydoc_data.topics`, is imported.
"""

import ast
import inspect
import os
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jaxssl.errors import InputError

LEFT_OUT = {
    "__pycache__", "_bundled", "dist-packages", "idlelib", "lib2to3", "pydoc_data",
    "site-packages", "test", "tests", "turtledemo",
}  # fmt: skip
SHORTEST = 40  # characters; shorter docstrings are left out


@cache
def topics() -> tuple[tuple[str, str], ...]:
    """Returns the language reference: pairs of a name "topics:NAME" and a text, sorted by name."""
    from pydoc_data.topics import topics as table

    return tuple((f"topics:{name}", table[name].strip()) for name in sorted(table))


@cache
def docstrings() -> tuple[tuple[str, str], ...]:
    """Returns the docstrings of the standard library, which differ between versions of Python.

    Returns:
      Pairs of a name "package.module:qualified.name" and a text; a module's own docstring is named
      "package.module:". Duplicates and docstrings under 40 characters are left out.

    Raises:
      InputError: This Python was installed without the source files of its library.
    """
    found, seen = [], set()
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(_sources(root)):
        parts = path.relative_to(root).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        names: Counter[str] = Counter()
        for name, text in _docstrings_of(_parse(path), ""):
            if len(text) < SHORTEST or text in seen:
                continue
            seen.add(text)
            names[name] += 1  # a function may be defined twice, once per platform
            again = f"~{names[name]}" if names[name] > 1 else ""
            found.append((f"{module}:{name}{again}", text))
    if len(found) < 1000:
        raise InputError(
            f"this Python was installed without the sources of its library: only {len(found)} "
            f"docstrings in {root}; install them, or give a text of your own"
        )
    return tuple(found)


def labelled_docstrings(packages: int = 8) -> list[tuple[str, str]]:
    """Returns docstrings labelled with the top-level package that they come from.

    Args:
      packages: Number of packages; those with the most docstrings are used. Only packages that are
        folders count, without private ones and distutils, which Python 3.12 removed, so that all
        versions of Python give the same labels.

    Returns:
      Pairs of docstring and label.
    """
    pairs, folders = [], set()
    for name, text in docstrings():
        package, dot, _ = name.split(":")[0].partition(".")
        pairs.append((text, package))
        if dot and not package.startswith("_") and package != "distutils":
            folders.add(package)
    counts = Counter(package for _, package in pairs if package in folders)
    chosen = {label for label, _ in sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:packages]}
    return [pair for pair in pairs if pair[1] in chosen]


def _sources(root: Path) -> Iterator[Path]:
    """Yields the source files of the library, without tests and installed packages."""
    for folder, below, files in os.walk(root):
        below[:] = [d for d in below if d not in LEFT_OUT and not d.startswith("config-")]
        yield from (Path(folder, file) for file in files if file.endswith(".py"))


def _parse(path: Path) -> ast.AST:
    """Parses a file; one that this Python cannot parse, such as a template, gives an empty module."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "invalid escape sequence"
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


def _docstrings_of(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    """Yields the qualified name and the docstring of a node and of all definitions inside it."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node, clean=False)
        if text:
            yield prefix, inspect.cleandoc(text)
    for child in ast.iter_child_nodes(node):
        name = getattr(child, "name", None)
        is_scope = isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        inner = f"{prefix}.{name}".lstrip(".") if is_scope else prefix
        if is_scope or isinstance(child, (ast.If, ast.Try)):
            yield from _docstrings_of(child, inner)
