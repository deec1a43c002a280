"""The English that ships with every CPython: the language reference and the docstrings of the library.

Docstrings are found by parsing the source files; nothing is imported but the table of topics.
"""

import ast
import inspect
import sysconfig
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LEFT_OUT = {
    "__pycache__", "_bundled", "dist-packages", "idlelib", "lib2to3", "pydoc_data",
    "site-packages", "test", "tests", "turtledemo",
}  # fmt: skip
SHORTEST = 40  # characters; shorter docstrings say nothing


@cache
def topics() -> tuple[tuple[str, str], ...]:
    """The language reference, ("topics:NAME", text) sorted by name."""
    from pydoc_data.topics import topics as table

    return tuple((f"topics:{name}", table[name].strip()) for name in sorted(table))


@cache
def docstrings() -> tuple[tuple[str, str], ...]:
    """All docstrings, ("package.module:qualified.name", text); of equal ones the first is kept."""
    found, seen = [], set()
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if LEFT_OUT & set(parts) or parts[0].startswith("config-"):
            continue
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        names: Counter[str] = Counter()
        for name, text in _docstrings_of(tree, ""):
            if len(text) < SHORTEST or text in seen:
                continue
            seen.add(text)
            names[name] += 1  # a function that is defined twice, on two platforms
            again = f"~{names[name]}" if names[name] > 1 else ""
            found.append((f"{module}:{name}{again}", text))
    return tuple(found)


def labelled_docstrings(packages: int = 8) -> list[tuple[str, str]]:
    """(docstring, top-level package it comes from), of the packages that have most of them."""
    pairs = [(text, name.split(":")[0].split(".")[0]) for name, text in docstrings()]
    counts = Counter(label for _, label in pairs)
    chosen = {label for label, _ in sorted(counts.items(), key=lambda c: (-c[1], c[0]))[:packages]}
    return [pair for pair in pairs if pair[1] in chosen]


def _docstrings_of(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
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
