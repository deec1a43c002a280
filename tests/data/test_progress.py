"""Progress without a terminal: lines now and then, an estimate, and nothing where it is silent."""

import io

import pytest

from jaxssl.data import progress as progress_module
from jaxssl.data.progress import SECONDS_BETWEEN_LINES, TextProgress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_a_line_every_ten_seconds_with_the_time_left(clock):
    stream = io.StringIO()
    with TextProgress(stream=stream) as progress:
        progress.begin("packing", total_bytes=4_000_000)
        progress.add(documents=1, text_bytes=500_000)
        assert stream.getvalue() == ""  # it is not time yet
        clock[0] += SECONDS_BETWEEN_LINES
        progress.add(documents=2, text_bytes=500_000, tokens=250_000)
        progress.add(documents=1, text_bytes=1)  # at the same moment: no line
    # 1 MB in 10 s: 3 MB more take 30 s
    expected = "packing: 3 documents, 1.0 MB, 0.25 M tokens, 0.1 MB/s, 25%, 0 min 30 s left\n"
    assert stream.getvalue() == expected


def test_what_an_earlier_run_did_is_no_speed(clock):
    progress = TextProgress(silent=True)
    progress.begin("decoding", things="images")
    progress.add(documents=1_000, text_bytes=8_000_000, reused=True)
    clock[0] += 2.0
    progress.add(documents=100, text_bytes=2_000_000)
    assert progress.counts() == "1,100 images, 10.0 MB, 1.0 MB/s"


def test_a_phase_begins_at_zero(clock):
    progress = TextProgress(silent=True)
    progress.begin("reading")
    progress.add(documents=5, text_bytes=1_000_000)
    progress.begin("packing")
    assert progress.counts().startswith("0 documents, 0.0 MB")


def test_without_a_total_there_is_no_estimate(clock):
    stream = io.StringIO()
    progress = TextProgress(stream=stream)
    progress.begin("reading")
    clock[0] += SECONDS_BETWEEN_LINES
    progress.add(documents=1, text_bytes=1_000_000)
    assert stream.getvalue() == "reading: 1 documents, 1.0 MB, 0.1 MB/s\n"


def test_silence(clock):
    stream = io.StringIO()
    with TextProgress(silent=True, stream=stream) as progress:
        progress.begin("reading")
        clock[0] += 2 * SECONDS_BETWEEN_LINES
        progress.add(documents=1, text_bytes=1)
        progress.say("a line")
    assert stream.getvalue() == ""


def test_a_bar_on_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with TextProgress(stream=stream) as progress:
        progress.begin("packing", total_bytes=100)
        progress.add(documents=1, text_bytes=50)
        progress.say("[a] line above")
    shown = stream.getvalue()
    assert "packing" in shown
    assert "50%" in shown
    assert "[a] line above" in shown  # not read as markup
