import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs" / "losses_alone.py"


def test_a_project_of_its_own_trains(capsys: pytest.CaptureFixture[str]) -> None:
    """Under jit and under pmap; it asserts that both losses fall."""
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "pmap on 8 devices" in capsys.readouterr().out
