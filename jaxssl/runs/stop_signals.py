"""The signals that ask a run to save its state and to end.

SIGTERM   from a cluster, `kill`, a supervisor       SIGINT   Ctrl-C
SIGHUP    the terminal was closed                    SIGUSR1  from a cluster that is told to send it
"""

import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def handled_signals() -> tuple[signal.Signals, ...]:
    """Returns the signals that ask for a stop, without SIGHUP where it is ignored, as under `nohup`."""
    is_kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in SIGNALS if number != signal.SIGHUP or not is_kept)
