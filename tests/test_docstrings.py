"""Every public name is documented: what it does, its parameters, the shapes of arrays, its fields.

The sources are read, not imported, so that private modules and NamedTuples are held to the same rules.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

FILES = sorted(Path("jaxssl").rglob("*.py"))
SHAPE = re.compile(r"`[^`]*\[[^\]]*\]|scalar|pytree|shape", re.IGNORECASE)
ARRAY = re.compile(r"\b(Float|Int|Bool|UInt8|Key|Shaped|Num)\[")
FIELDS = ("dataclass", "NamedTuple", "Protocol")


def is_public(node: ast.AST) -> bool:
    return not node.name.startswith("_") or node.name == "__call__"


def parameters(function: ast.FunctionDef) -> list[ast.arg]:
    arguments = function.args
    every = arguments.posonlyargs + arguments.args + arguments.kwonlyargs
    return [a for a in every if a.arg not in ("self", "cls") and not a.arg.startswith("_")]


def names(words: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", words) is not None


def faults_of_function(function: ast.FunctionDef, where: str, words: str = "") -> Iterator[str]:
    """`words` are those of the class, which may describe what its `__init__` takes."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    if any("overload" in text or text.endswith(".setter") for text in decorators):
        return
    own = ast.get_docstring(function) or ""
    if not own and not words and (function.name != "__call__" or parameters(function)):
        yield f"{where}: no docstring"
        return
    if re.match(r"Of\b", own):
        yield f"{where}: begins with Of"
    both = f"{words}\n{own}"
    for one in parameters(function):
        if not names(both, one.arg):
            yield f"{where}: {one.arg} is not in the docstring"
        annotation = "" if one.annotation is None else ast.unparse(one.annotation)
        if ARRAY.search(annotation) and one.arg != "key" and not SHAPE.search(both):
            yield f"{where}: no shape for the array {one.arg}"


def faults_of_class(node: ast.ClassDef, where: str) -> Iterator[str]:
    words = ast.get_docstring(node) or ""
    if not words:
        yield f"{where}: no docstring"
    if re.match(r"Of\b", words):
        yield f"{where}: begins with Of"
    kinds = [ast.unparse(part) for part in node.decorator_list + node.bases]
    if any(kind in text for kind in FIELDS for text in kinds):
        for line, below in zip(node.body, [*node.body[1:], None], strict=True):
            is_field = isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
            has_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if is_field and not line.target.id.startswith("_") and not has_text:
                yield f"{where}.{line.target.id}: the field has no docstring"
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            yield from faults_of_function(part, f"{where}.__init__", words or " ")
        elif isinstance(part, ast.FunctionDef) and is_public(part):
            yield from faults_of_function(part, f"{where}.{part.name}")


def faults_of(source: str, name: str) -> list[str]:
    tree = ast.parse(source)
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and is_public(node):
            found += faults_of_function(node, f"{name}:{node.lineno} {node.name}")
        elif isinstance(node, ast.ClassDef) and is_public(node):
            found += faults_of_class(node, f"{name}:{node.lineno} {node.name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_public_name_is_documented(path):
    source = path.read_text(encoding="utf-8")
    assert not faults_of(source, path.name)
    words = ast.get_docstring(ast.parse(source)) or ""
    assert words or path.name == "__init__.py"
    assert not words.startswith("Of ")


def test_the_rules_find_what_they_are_for():
    source = '''
class Shape:
    """The shape."""
    def area(self, unit): return unit

@dataclass
class Point:
    """A point."""
    x: int
    y: int
    """Position from below."""

def mean(rows: Float[Array, "batch dim"], weights):
    """Of rows, the mean under weights."""

def norm(x: Float[Array, "dim"]):
    """Computes the norm of `x`, `[dim]`."""
'''
    assert [fault.split(" ", 1)[1] for fault in faults_of(source, "f")] == [
        "Shape.area: no docstring",
        "Point.x: the field has no docstring",
        "mean: begins with Of",
        "mean: no shape for the array rows",
    ]
