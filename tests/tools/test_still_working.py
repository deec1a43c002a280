"""Long work says what it does and goes on saying so until it ends, also by an error; quick work is silent."""

import io
import re
import threading
import time

import pytest

from jaxssl.tools.still_working import still_working


def test_lines_come_while_it_works():
    shown = io.StringIO()
    with still_working("compiling", patience=0, every=0.01, stream=shown):
        while shown.getvalue().count("\n") < 3:
            time.sleep(0.005)
    assert all(re.fullmatch(r"compiling … \d+ s", line) for line in shown.getvalue().splitlines())


def test_an_error_ends_it(capsys):
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), still_working("compiling"):
        raise ZeroDivisionError
    assert threading.active_count() == before
    assert capsys.readouterr().err == ""
