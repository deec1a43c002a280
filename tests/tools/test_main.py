"""Every command explains every option, and none imports more than it needs."""

import argparse
import re
import subprocess
import sys

import pytest

import jaxssl
from jaxssl.tools.main import COMMANDS, main, make_parser
from tests.data.tiny_corpus import ENVIRONMENT

UNCLEAR = re.compile(r"(of|likewise|ditto|see|the same)\b")


def options_of(name):
    (commands,) = (
        action
        for action in make_parser(name)._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return commands.choices[name]._actions


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    actions = options_of(name)
    assert len(actions) > 1
    for action in actions:
        assert action.help, action
        assert len(action.help.split()) > 2, action
        assert not UNCLEAR.match(action.help), action


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_shows_how_it_is_called(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert f"\n  jaxssl {name}" in printed


def explained(printed):
    """The help of every flag, which stands indented below it."""
    found, flag = {}, None
    for line in printed.splitlines():
        if line.startswith("    --"):
            flag = line.split()[0]
            found[flag] = ""
        elif flag and line.startswith(" " * 8):
            found[flag] += f" {line.strip()}"
        else:
            flag = None
    return found


@pytest.mark.parametrize(
    "words",
    [
        "train quickstart",
        "train electra_small",
        "train t5_tiny",
        "train simcse_novels",
        "train skip_gram_novels",
        "train byol_cifar10",
        "train dino_cifar10",
        "train mae_cifar10",
        "train siglip_tiny",
        "finetune finetune_quickstart",
    ],
)
def test_every_field_of_a_recipe_is_explained(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as end:
        main([*words.split(), "--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: jaxssl {words} ")
    found = explained(printed)
    assert len(found) > 30
    assert {"--run", "--optimizer.peak", "--mesh.data"} <= found.keys()
    assert [flag for flag, text in found.items() if len(text.split()) < 2] == []


def test_the_help_of_all_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed and command.purpose in printed for name, command in COMMANDS.items())


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"jaxssl {jaxssl.__version__}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "the following arguments are required: COMMAND; `jaxssl --help` explains"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        ([""], "invalid choice: ''"),
        (["-x"], "the following arguments are required: COMMAND"),
        (
            ["words", "runs/x", "--nonsense"],
            "unrecognized arguments: --nonsense; `jaxssl words --help`",
        ),
        (["prepare"], "the following arguments are required: SOURCE, --into"),
        (["prepare", "a", "--into"], "argument --into: expected one argument"),
        (
            ["prepare", "a", "--into", "b", "--length", "2.5"],
            "argument --length: invalid int value: '2.5'",
        ),
        (
            ["prepare", "a", "--into", "b", "--fit", "evil"],
            "argument --fit: invalid choice: 'evil'",
        ),
        (
            ["prepare", "a", "--into", "b", "--size", "3", "--size=4"],
            "--size is given twice; give it once",
        ),
        (
            ["plan", "quickstart", "--on", "cpu:1", "--on", "cpu:2"],
            "--on is given twice; give it once",
        ),
    ],
)
def test_what_is_no_command_is_one_line(words, line, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert line in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("words", ["recipes", "recipes quickstart", "train --help", "--help"])
def test_jax_is_not_imported_where_nothing_is_computed(words):
    code = (
        "import sys; from jaxssl.tools.main import main\n"
        f"try: main({words.split()!r})\n"
        "except SystemExit: pass\n"
        "assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=ENVIRONMENT)
