"""Runs the pages train.py and finetune.py from the command `jaxssl`, with a recipe by name or by file.

`jaxssl train quickstart --steps 100` is `python train.py --config FILE --steps 100`, where FILE is the recipe
quickstart: the page is run as a program in this process.
"""

import argparse
import ast
import runpy
import sys

from jaxssl.errors import InputError
from jaxssl.tools.recipe_index import read_index
from jaxssl.tools.shipped import page, recipe_file

HELP = {"-h", "--help"}


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the recipe and its flags to the `parser` of a command that runs a page."""
    parser.add_argument(
        "recipe",
        nargs="?",
        metavar="RECIPE",
        help="name of a recipe (`jaxssl recipes` lists them), or a .py file of your own",
    )
    parser.add_argument(
        "flags",
        nargs=argparse.REMAINDER,
        metavar="--FIELD VALUE",
        help="change fields of the recipe; `RECIPE --help` lists all. --code FILE.py|MODULE, which "
        "may be repeated, first runs a file or imports a module that defines classes of your own",
    )


def run_recipe(command: str, options: argparse.Namespace) -> None:
    """Runs a page with a recipe, or prints the fields of the recipe if its flags ask for help.

    Args:
      command: "train" or "finetune", the name of the page.
      options: `recipe`, `flags`, and `config_flags` with words that stood before the recipe.

    Raises:
      InputError: The recipe is missing, unknown, or of the other command.
    """
    if options.config_flags:
        flags = " ".join(options.config_flags)
        raise InputError(f"name the recipe before its flags: jaxssl {command} RECIPE {flags} …")
    if options.recipe is None:
        raise InputError(
            f"name a recipe, e.g. `jaxssl {command} {_example(command)}`; `jaxssl recipes` lists them"
        )
    check_command(command, options.recipe)
    arguments = ["--config", str(recipe_file(options.recipe)), *options.flags]
    if HELP & set(options.flags):
        print_fields(command, options.recipe, arguments)
    else:
        run_page(command, arguments)


def check_command(command: str, recipe: str) -> None:
    """Raises InputError if a named `recipe` of the index is not for `command` but for the other one."""
    for entry in read_index():
        right = "finetune" if entry.is_finetuning else "train"
        if entry.name == recipe and right != command:
            raise InputError(f"{recipe} is run by another command: jaxssl {right} {recipe}")


def print_fields(command: str, recipe: str, arguments: list[str]) -> None:
    """Prints every field of a recipe that a flag can change, and ends the program.

    Args:
      command: "train" or "finetune".
      recipe: Name or file of the recipe, as the user wrote it.
      arguments: `--config FILE` and the flags, `--help` among them.
    """
    from jaxssl.finetuning.setup import Finetuning
    from jaxssl.training.config import Pretraining, read_config

    program = f"jaxssl {command} {recipe}"
    text = recipe_file(recipe).read_text(encoding="utf-8")
    description = ast.get_docstring(ast.parse(text)) or ""
    if command == "train":
        read_config(Pretraining, description, arguments, program=program)
    else:
        read_config(Finetuning, description, arguments, program=program)


def run_page(name: str, arguments: list[str]) -> None:
    """Runs the page `name`, "train" or "finetune", as a program with these `arguments`."""
    path = str(page(name))
    before = sys.argv
    # A run with --restarts starts the command in sys.argv again, so that has to be the page itself.
    sys.argv = [path, *arguments]
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv = before


def _example(command: str) -> str:
    return "quickstart" if command == "train" else "finetune_quickstart"
