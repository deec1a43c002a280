"""Files that ship with jaxssl are found in a wheel and in a clone; names of recipes become files."""

from pathlib import Path

import pytest

from jaxssl.errors import InputError
from jaxssl.tools import shipped


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package as a wheel has it, with one recipe and one page."""
    package = tmp_path / "site-packages" / "jaxssl"
    for file in ("recipes/one.py", "pages/train.py"):
        (package / file).parent.mkdir(parents=True)
        (package / file).touch()
    (package.parent / "configs").mkdir()  # of another project: not ours
    monkeypatch.setattr(shipped, "PACKAGE", package)
    return package


def test_in_a_clone():
    assert shipped.recipes_folder() == Path("configs").absolute()
    assert shipped.page("train") == Path("train.py").absolute()
    assert shipped.page("finetune") == Path("finetune.py").absolute()
    assert shipped.recipe_file("quickstart") == Path("configs/quickstart.py").absolute()


def test_in_a_wheel(wheel):
    assert shipped.recipe_names() == ["one"]
    assert shipped.recipe_file("one") == wheel / "recipes" / "one.py"
    assert shipped.page("train") == wheel / "pages" / "train.py"
    with pytest.raises(InputError, match=r"lacks .*finetune.py; install it again"):
        shipped.page("finetune")


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "quickstart.py"
    path.touch()
    assert shipped.recipe_file(str(path)) == path
    assert shipped.recipe_file("mine.py") == Path("mine.py")  # its reader says that it is missing


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        ("quickstrat", "there is no recipe 'quickstrat'; did you mean quickstart?"),
        ("nothing like it", "there is no recipe 'nothing like it'; `jaxssl recipes` lists all"),
        ("elsewhere/quickstart.py", "the recipe that comes with jaxssl is named quickstart"),
    ],
)
def test_what_is_no_recipe(recipe, line):
    with pytest.raises(InputError) as told:
        shipped.recipe_file(recipe)
    assert line in str(told.value)
