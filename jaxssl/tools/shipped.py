"""Finds the files that ship with jaxssl: the recipes, and the pages train.py and finetune.py.

In an installed wheel they are below the package, as `jaxssl/recipes/` and `jaxssl/pages/` (see `setup.py`).
In a clone and in an editable install they are in the repository, as `configs/` and in its root.
"""

import difflib
from pathlib import Path

from jaxssl.errors import InputError

PACKAGE = Path(__file__).parents[1]


def recipes_folder() -> Path:
    """Returns the folder of the recipes that ship with jaxssl."""
    return _first_that_exists(PACKAGE / "recipes", PACKAGE.parent / "configs")


def page(name: str) -> Path:
    """Returns the file of a page by its `name`, "train" or "finetune"."""
    file = f"{name}.py"
    return _first_that_exists(PACKAGE / "pages" / file, PACKAGE.parent / file)


def recipe_names() -> list[str]:
    """Returns the names of all recipes that ship with jaxssl, sorted."""
    return sorted(path.stem for path in recipes_folder().glob("*.py"))


def recipe_file(recipe: str) -> Path:
    """Returns the file of a recipe.

    Args:
      recipe: Name of a recipe that ships with jaxssl, or the path of a file, which ends in ".py".

    Raises:
      InputError: No recipe has this name, or the path of a recipe that ships with jaxssl does not exist
        here. Whether any other path exists is left to the reader of the file.
    """
    path, names = Path(recipe), recipe_names()
    if path.suffix == ".py":
        if not path.exists() and path.stem in names:
            raise InputError(
                f"{recipe} does not exist here; the recipe that comes with jaxssl is named {path.stem}"
            )
        return path
    if recipe not in names:
        near = difflib.get_close_matches(recipe, names, 1)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise InputError(
            f"there is no recipe {recipe!r}{hint} `jaxssl recipes` lists all; the path of a recipe of "
            "your own ends in .py"
        )
    return recipes_folder() / f"{recipe}.py"


def _first_that_exists(*candidates: Path) -> Path:
    for path in candidates:
        if path.exists():
            return path
    raise InputError(
        f"this installation of jaxssl lacks {candidates[0]}; install it again, or run from a clone"
    )
