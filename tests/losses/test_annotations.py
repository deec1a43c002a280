import subprocess
import sys

import pytest


@pytest.mark.slow
def test_annotations_hold() -> None:
    """In a process of its own: checking every call of all tests would make them slow."""
    pytest.importorskip("beartype")
    command = [sys.executable, "-m", "tests.losses.annotated"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip() == "refused"
