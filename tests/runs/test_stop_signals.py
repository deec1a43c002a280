"""Which signals ask for a stop."""

import signal

import pytest

from jaxssl.runs.stop_signals import SIGNALS, handled_signals


@pytest.fixture(autouse=True)
def _without_nohup():
    """Tests may have been started by `nohup`, which ignores SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("ignored", "left_out"), [("SIGHUP", {"SIGHUP"}), ("SIGINT", set())])
def test_nohup_is_respected(ignored, left_out):
    """A shell ignores SIGINT for its background processes, which are asked to stop by it all the same."""
    number = signal.Signals[ignored]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert {one.name for one in set(SIGNALS) - set(handled_signals())} == left_out
    finally:
        signal.signal(number, before)
