"""Which signals ask for a stop."""

import signal

from jaxssl.runs.stop_signals import SIGNALS, handled_signals


def test_an_ignored_signal_stays_ignored():
    assert handled_signals() == SIGNALS
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        assert signal.SIGHUP not in handled_signals()
    finally:
        signal.signal(signal.SIGHUP, before)
