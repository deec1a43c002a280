"""A page runs as a program with the recipe's file and the flags; what is wrong is said before that."""

import json
import sys

import pytest

from jaxssl.tools import pages
from jaxssl.tools.main import main
from jaxssl.tools.shipped import recipe_file


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """A function that runs the command with a page that only writes down how it was called."""
    called = tmp_path / "called.json"
    path = tmp_path / "page.py"
    path.write_text(
        "import json, sys\n"
        f"with open({str(called)!r}, 'w') as file:\n"
        "    json.dump([__name__, sys.modules['__main__'].__file__, sys.argv], file)\n"
    )
    monkeypatch.setattr(pages, "page", lambda name: path)

    def run(*arguments):
        main(arguments)
        return json.loads(called.read_text())

    return run


def test_the_page_gets_the_file_and_the_flags(ran, tmp_path):
    before = list(sys.argv)
    page = str(tmp_path / "page.py")
    file = str(recipe_file("quickstart"))
    flags = ["--steps", "5", "--data.path", "a", "b", "--code", "mine.py"]
    wanted = ["__main__", page, [page, "--config", file, *flags]]
    assert ran("train", "quickstart", *flags) == wanted
    assert ran("train", "mine.py")[2] == [page, "--config", "mine.py"]
    file = str(recipe_file("finetune_trec"))
    assert ran("finetune", "finetune_trec", "--from-scratch")[2][1:] == [
        "--config",
        file,
        "--from-scratch",
    ]
    assert sys.argv == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("train", "name a recipe, e.g. `jaxssl train quickstart`"),
        ("finetune", "name a recipe, e.g. `jaxssl finetune finetune_quickstart`"),
        ("train --steps 5 quickstart", "before its flags: jaxssl train RECIPE --steps"),
        ("train finetune_trec", "run by another command: jaxssl finetune finetune_trec"),
        ("finetune bert_base", "run by another command: jaxssl train bert_base"),
        ("train quickstrat", "did you mean quickstart?"),
        ("train quickstart --data.bacth 3", "the nearest is --data.batch"),
        ("train quickstart --steps 0", "steps=0 must be at least 1"),
        ("train nowhere.py", "config nowhere.py does not exist"),
        ("finetune finetune_sst2 --batch 0", "batch=0 must be at least 1"),
    ],
)
def test_what_is_wrong_is_one_line(words, line, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(words.split())
    printed = capsys.readouterr().err
    assert end.value.code == 2
    assert line in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
