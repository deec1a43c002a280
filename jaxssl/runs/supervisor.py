"""Restarts a run that has died, up to `restarts` times.

Every host has a supervisor process of its own, which runs the training as its child. When a host dies, the
others end too (`watch.py`), so all of them are restarted, connect again, and resume from the last checkpoint.

The child has a session of its own, so that a signal to the supervisor's process group (Ctrl-C in a terminal)
reaches it once, through the supervisor. Its standard input is a pipe from the supervisor: the end of
this pipe tells the child that its supervisor was killed.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

from jaxssl.exit_codes import FINAL, ExitCode
from jaxssl.runs.stop_signals import handled_signals

CHILD = "JAXSSL_SUPERVISED"  # environment variable that is set in the child
PAUSE = 1.0  # seconds before a restart


def is_supervisor(restarts: int) -> bool:
    """Returns whether this process supervises a child that trains, given the allowed number of `restarts`.

    False in the child itself, and if `restarts` is 0.
    """
    return restarts > 0 and CHILD not in os.environ


def supervise(restarts: int, command: list[str] | None = None) -> int:
    """Runs a command as a child process, and restarts it until it ends with an exit code in `FINAL`.

    Signals that ask for a stop are passed on to the child, which saves and ends; it is not restarted then.
    Ctrl-Z pauses the child, too.

    Args:
      restarts: Largest number of restarts.
      command: Program and arguments; None repeats the command line of this process.

    Returns:
      Exit code of the last child; 128 + N if signal number N has killed it. `SAVED_NOT_FINISHED` if the
      stop was asked for while no child was running.
    """
    supervision = _Supervision(command or [sys.executable, *sys.argv])
    handlers = dict.fromkeys(handled_signals(), supervision.pass_on)
    handlers[signal.SIGTSTP] = supervision.pause
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        code = supervision.run()
        for attempt in range(1, restarts + 1):
            if code in FINAL or supervision.asked:
                break
            print(
                f"the run ended with code {code}; restart {attempt} of {restarts}",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(PAUSE)
            code = supervision.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def end_with_supervisor() -> None:
    """Makes a child ask itself to stop when its supervisor is killed, so that it saves and is no orphan.

    In a process without a supervisor it does nothing.
    """
    if CHILD in os.environ:
        threading.Thread(target=_wait_for_supervisor, name="supervisor", daemon=True).start()


def _wait_for_supervisor() -> None:
    while os.read(0, 1):  # nothing is written to the pipe, which ends with the supervisor
        pass
    print("the supervisor of this run has ended: the run saves and ends", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)


class _Supervision:
    """The children of a supervisor, one after another, and the signals that it passes on to them.

    Args:
      command: Program and arguments of a child.
    """

    def __init__(self, command: list[str]):
        self.command = command
        self.asked: list[int] = []
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Runs a child to its end and returns its exit code; it starts none where a stop was asked for."""
        if self.asked:
            return ExitCode.SAVED_NOT_FINISHED
        environment = {**os.environ, CHILD: "1"}
        with subprocess.Popen(
            self.command, env=environment, stdin=subprocess.PIPE, start_new_session=True
        ) as child:
            self._child = child
            if self.asked:  # after the child was started and before it was known
                child.send_signal(self.asked[-1])
            code = child.wait()
        self._child = None
        return code

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal that asks for a stop."""
        self.asked.append(number)
        if self._child is not None:
            self._child.send_signal(number)

    def pause(self, number: int, frame: FrameType | None) -> None:
        """Handles Ctrl-Z: stops the child and this process until both are continued."""
        child = self._child
        if child is not None:  # SIGTSTP does not stop a process without a terminal
            child.send_signal(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
        if child is not None:
            child.send_signal(signal.SIGCONT)
