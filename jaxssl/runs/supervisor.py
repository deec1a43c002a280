"""Starting a run again where it died: `--restarts N`.

Every host has its own supervisor. When a host dies the others leave too (`watch.py`), so all of them are
started again, find each other, and go on from the last checkpoint.
"""

import os
import signal
import subprocess
import sys
import time
from types import FrameType

CHILD = "JAXSSL_SUPERVISED"
FINAL = (0, 2, 130)  # done; the user's to mend; Ctrl-C
PAUSE = 1.0  # seconds before a restart


def is_supervisor(restarts: int) -> bool:
    """Whether this process is to start the command again and again, and not to train itself."""
    return restarts > 0 and CHILD not in os.environ


def supervise(restarts: int, command: list[str] | None = None) -> int:
    """Runs this very command as a child until it ends well; the exit code of the last one.

    SIGTERM and Ctrl-C are passed on and end it for good: the child saves and leaves.
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
