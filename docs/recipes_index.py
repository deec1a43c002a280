"""The index of recipes: replaces the block `{recipes}` of a page by tables and docstrings.

The tables are those of `configs/README.md`, with the class that each recipe trains; below them stands the
docstring of every recipe, with its commands and what was published and measured.
"""

import ast
from itertools import groupby
from pathlib import Path
from typing import Any

from jaxssl.tools.recipe_index import Entry, read_index
from jaxssl.tools.shipped import recipe_file

BLOCK = "```{recipes}\n```"


def setup(app: Any) -> dict[str, Any]:
    """Registers with Sphinx."""
    app.connect("source-read", fill_page)
    return {"parallel_read_safe": True}


def fill_page(app: Any, page: str, source: list[str]) -> None:
    """Handles Sphinx's event `source-read`: fills in the index."""
    if BLOCK in source[0]:
        source[0] = source[0].replace(BLOCK, recipes())


def recipes() -> str:
    """Returns a table for each group of recipes, and a section for each recipe, as Markdown."""
    entries = read_index()
    lines: list[str] = []
    for group, members in groupby(entries, key=lambda entry: entry.group):
        lines += ["", f"## {group}", "", "| recipe | paper | class | size | data | time |"]
        lines += ["|---|---|---|---|---|---|", *map(_row, members)]
    lines += ["", "## All docstrings"]
    for entry in entries:
        tree = ast.parse(recipe_file(entry.name).read_text(encoding="utf-8"))
        words = ast.get_docstring(tree) or ""
        lines += ["", f"({_anchor(entry)})=", f"### {entry.name}", "", "```text", words, "```"]
    return "\n".join(lines)


def trained_class(path: Path) -> str:
    """Returns the class of the recipe `path`: that of its objective, or the task of a finetuning."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg in ("objective", "task"):
            return ast.unparse(node.value).split("(", 1)[0]
    return ""


def _row(entry: Entry) -> str:
    link, kind = f"[{entry.name}](#{_anchor(entry)})", trained_class(recipe_file(entry.name))
    return f"| {link} | {entry.paper} | `{kind}` | {entry.size} | {entry.data} | {entry.time} |"


def _anchor(entry: Entry) -> str:
    return "recipe-" + entry.name.replace("_", "-")
