"""The table of exit codes: in the code, in the help of `jaxssl`, in the documentation, and nowhere else."""

import re
from pathlib import Path

import pytest

from jaxssl.exit_codes import FINAL, ExitCode, exit_code_table
from jaxssl.tools.main import main

DOCS = Path("docs/exit_codes.md")


def test_codes_are_numbers_with_a_meaning():
    assert [int(code) for code in ExitCode] == [0, 1, 2, 75, 76, 77, 130]
    assert ExitCode(77) is ExitCode.SAVED_NOT_FINISHED
    assert "steps are left" in ExitCode.SAVED_NOT_FINISHED.meaning
    assert [int(code) for code in FINAL] == [0, 2, 77, 130]


def test_the_help_has_the_table(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert exit_code_table() in capsys.readouterr().out
    assert "   77  asked to stop: the state is saved, and steps are left" in exit_code_table()


def test_the_documentation_has_the_table():
    rows = re.findall(r"^\| (\d+) \|", DOCS.read_text(encoding="utf8"), re.MULTILINE)
    assert [int(row) for row in rows] == list(ExitCode)
