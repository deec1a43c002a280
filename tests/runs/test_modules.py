"""Files of the user's own: run once, known by a name, and never run unless they are named."""

import dataclasses
import json
import sys

import pytest

from jaxssl.errors import InputError
from jaxssl.models import bert
from jaxssl.objectives import MaskedLM
from jaxssl.runs.description import describe, rebuild
from jaxssl.runs.modules import file_of, find_class, load_code, load_module

CODE = """
from dataclasses import dataclass
from beside import RATE
from jaxssl.objectives import MaskedLM

@dataclass(frozen=True)
class {name}(MaskedLM):
    rate: float = RATE
    extra: int | None = 1
"""


@dataclasses.dataclass
class Own:
    """A class of a program that reads a run."""


@pytest.fixture
def file(tmp_path):
    known = set(sys.modules)
    (tmp_path / "beside.py").write_text("RATE = 0.25")
    path = tmp_path / "mine_for_tests.py"
    path.write_text(CODE.format(name="Mine"))
    yield path
    for name in {"beside", "mine_for_tests"} - known:
        sys.modules.pop(name, None)


def test_dataclasses_of_a_file_work_and_come_back(file):
    module = load_module(file)
    assert module.__name__ == "mine_for_tests"
    assert str(file.parent) not in sys.path
    mine = module.Mine(encoder=bert(2, 32, 2), extra=3)
    assert mine.rate == 0.25
    described = json.loads(json.dumps(describe(mine)))
    assert described["defined_in"] == str(file)
    assert rebuild(described) == mine


def test_a_class_whose_file_nobody_named_is_not_loaded(file):
    described = describe(load_module(file).Mine(encoder=bert(2, 32, 2)))
    del sys.modules["mine_for_tests"]
    with pytest.raises(InputError, match=f"defined in {file}.* --code {file}"):
        rebuild(described)
    assert "mine_for_tests" not in sys.modules
    load_module(file)
    assert rebuild(described).rate == 0.25


def test_a_name_that_another_module_has_is_not_taken(tmp_path):
    path = tmp_path / "json.py"
    path.write_text("config = 3")
    module = load_module(path)
    assert module.__name__ == "json_file"
    assert module.config == 3
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("none.py", None, "is not a Python file"),
        ("notes.txt", "config = 3", "is not a Python file"),
        ("broken.py", "config = (", "broken.py: '\\(' was never closed"),
        ("refused.py", "raise ValueError('rate=2 must be below 1')", "refused.py: rate=2"),
        ("lost.py", "import json\nimport no_such_module\n", "lost.py, line 2: ModuleNotFound"),
        ("typo.py", "config = 1\n\nconfg.x\n", "typo.py, line 3: NameError: name 'confg'"),
        ("zero.py", "def f():\n    return 1 / 0\nf()\n", "zero.py, line 2: ZeroDivision"),
        ("ends.py", "raise SystemExit(0)", "ends.py, line 1: SystemExit"),
        ("nul.py", "a = 1\0", "nul.py: "),
    ],
)
def test_what_cannot_be_run_is_named(tmp_path, name, text, line):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=line):
        load_module(path)
    assert path.stem not in sys.modules


def test_classes_of_the_library_have_no_file():
    assert file_of(MaskedLM) is None
    assert file_of(type("Here", (), {"__module__": __name__})) == __file__


def test_classes_of_modules_that_nobody_named(tmp_path, monkeypatch):
    """What a config.json names is neither imported nor instantiated, though it is installed or known."""
    (tmp_path / "evil_for_tests.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in (
        "evil_for_tests:Class",
        "subprocess:Popen",
        "optax:Missing",
        "dataclasses:Field",
        "orbax.checkpoint:CheckpointManagerOptions",  # a dataclass of an installed package
        "jaxssl.no_such_module:Class",
        "jaxssl..errors:Class",
        "jaxssl.runs.modules:os.system",
        "jaxssl.runs.checkpoint:jaxssl",
        "jaxssl.runs.modules",
        "",
        ":",
    ):
        with pytest.raises(InputError, match="the run uses the class") as told:
            find_class(name, None)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "ran").exists()
    assert "evil_for_tests" not in sys.modules


def test_the_refusal_names_the_flag(tmp_path):
    with pytest.raises(InputError, match=r"pass code='mine.parts' \(on a command line --code mine"):
        find_class("mine.parts:Mine", None)
    with pytest.raises(InputError, match=r"defined in /x/mine.py; .* --code /x/mine.py"):
        find_class("mine:Mine", "/x/mine.py")


def test_a_module_is_named_like_a_file(tmp_path, monkeypatch):
    text = "import dataclasses\n@dataclasses.dataclass\nclass Part:\n    x: int = 1\n"
    (tmp_path / "package_for_tests").mkdir()
    (tmp_path / "package_for_tests" / "parts.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    load_code(["package_for_tests.parts"])
    assert find_class("package_for_tests.parts:Part", None)().x == 1
    with pytest.raises(InputError, match="none_for_tests is neither a Python file nor a module"):
        load_code(["none_for_tests"])
    with pytest.raises(InputError, match="is not a Python file"):
        load_code([tmp_path / "nowhere.py"])


def test_classes_of_the_users_own_program_are_known():
    assert find_class(f"{__name__}:Own", None) is Own
