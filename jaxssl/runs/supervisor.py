"""Restarts a run that has died, up to `restarts` times.

Every host has a supervisor process of its own, which runs the training as its child. When a host dies, the
others end too (`watch.py`), so all of them are restarted, connect again, and resume from the last checkpoint.
"""

import os
import signal
import subprocess
import sys
import time
from types import FrameType

CHILD = "JAXSSL_SUPERVISED"  # environment variable that is set in the child
FINAL = (0, 2, 130)  # exit codes without a restart: success, an InputError, Ctrl-C
PAUSE = 1.0  # seconds before a restart


def is_supervisor(restarts: int) -> bool:
    """Returns whether this process supervises a child that trains, given the allowed number of `restarts`.

    False in the child itself, and if `restarts` is 0.
    """
    return restarts > 0 and CHILD not in os.environ


def supervise(restarts: int, command: list[str] | None = None) -> int:
    """Runs a command as a child process, and restarts it until it ends with an exit code in `FINAL`.

    SIGTERM and Ctrl-C are passed on to the child, which saves and ends; it is not restarted then.

    Args:
      restarts: Largest number of restarts.
      command: Program and arguments; None repeats the command line of this process.

    Returns:
      Exit code of the last child; 128 + N if signal number N has killed it.
    """
    command = command or [sys.executable, *sys.argv]
    asked: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if child is not None:
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for attempt in range(restarts + 1):
            child = subprocess.Popen(command, env={**os.environ, CHILD: "1"})
            code = child.wait()
            if code in FINAL or asked or attempt == restarts:
                break
            print(
                f"the run ended with code {code}; restart {attempt + 1} of {restarts}",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(PAUSE)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
