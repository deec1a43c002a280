import os
import socket
import subprocess
import sys

import pytest

from tests.losses.sums import TOLERANCE
from tests.quick_programs import xla_flags


@pytest.mark.slow
def test_two_processes_of_four_devices() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"XLA_FLAGS": xla_flags(4)}
    command = [sys.executable, "-m", "tests.losses.one_of_two_processes", str(port)]
    processes = [
        subprocess.Popen(
            [*command, str(number)], stdout=subprocess.PIPE, text=True, env=environment
        )
        for number in range(2)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        errors = dict(line.rsplit(" ", 1) for line in output.splitlines() if "even " in line)
        assert len(errors) == 22  # (whole, accumulated) x 4 and cached x 3; even and uneven weights
        assert max(map(float, errors.values())) < TOLERANCE
