"""List the recipes that come with jaxssl, show one, or copy one to change it.

  jaxssl recipes                                    one line a recipe: paper, size, data, time
  jaxssl recipes quickstart                         its description and its file
  jaxssl recipes bert_small --copy my_bert.py       a copy to edit; then: jaxssl train my_bert.py

A recipe is a Python file that binds one `config`. Sizes: L layers, H width of a transformer. Times were
measured on CPUs, or are those of the paper where it says so.
"""

import argparse
import ast
import shutil
from pathlib import Path

from jaxssl.errors import InputError
from jaxssl.tools.recipe_index import Entry, read_index, show_index
from jaxssl.tools.shipped import recipe_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl recipes` to `parser`."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="recipe to show (default: list all)"
    )
    parser.add_argument("--copy", metavar="FILE", help="copy the recipe NAME to this new .py file")


def run(options: argparse.Namespace) -> None:
    """Prints the index or one recipe, or copies one, as `options` say."""
    index = {entry.name: entry for entry in read_index()}
    if options.name is None:
        if options.copy:
            raise InputError("name the recipe to copy: jaxssl recipes NAME --copy FILE")
        print(show_index(list(index.values())))
        print(
            "\n`jaxssl recipes NAME` shows one; `jaxssl train NAME` or `jaxssl finetune NAME` runs it"
        )
        return
    path = recipe_file(options.name)
    if options.copy:
        copy = copy_recipe(path, options.copy)
        print(f"{copy} is a copy of {path.stem}; run it: jaxssl {command_of(path, index)} {copy}")
    else:
        print(show_recipe(path, index))


def show_recipe(path: Path, index: dict[str, Entry]) -> str:
    """Describes a recipe for a person.

    Args:
      path: File of the recipe.
      index: All entries of the index by name.

    Returns:
      The entry of the index, the docstring of the file, and the commands that run and copy it.
    """
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    entry = index.get(path.stem)
    facts = "" if entry is None else "   ".join(part for part in entry[2:] if part != "–") + "\n"
    return (
        f"{facts}{path}\n\n{text.rstrip()}\n\n"
        f"run it:     jaxssl {command_of(path, index)} {path.stem}\n"
        f"change it:  jaxssl recipes {path.stem} --copy FILE.py"
    )


def command_of(path: Path, index: dict[str, Entry]) -> str:
    """Returns the command, "train" or "finetune", for the recipe `path` according to the `index`."""
    entry = index.get(path.stem)
    return "finetune" if entry is not None and entry.is_finetuning else "train"


def copy_recipe(path: Path, target: str) -> Path:
    """Copies a recipe to a new file and returns its path.

    Args:
      path: File of the recipe.
      target: Path of the copy, which ends in ".py". Missing folders are made.

    Raises:
      InputError: `target` exists, or does not end in ".py".
    """
    copy = Path(target)
    if copy.suffix != ".py":
        raise InputError(f"--copy {target} must end in .py, e.g. --copy my_{path.stem}.py")
    if copy.exists():
        raise InputError(f"{copy} exists and is not replaced; choose another name")
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
    return copy
