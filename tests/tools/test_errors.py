"""What ends a command line with one line, and what keeps its traceback."""

import contextlib
import errno
import io
import sys

import jax
import pytest

from jaxssl.errors import HostIsGone, InputError
from jaxssl.tools import errors
from jaxssl.tools.errors import one_line_errors


def ended_by(error, capsys):
    with pytest.raises(SystemExit) as end, one_line_errors():
        raise error
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return end.value.code, printed.err.strip()


def test_input_error(capsys):
    assert ended_by(InputError("no\nsuch  file"), capsys) == (2, "error: no such file")


def test_a_host_that_is_gone(capsys):
    assert ended_by(HostIsGone("host 1 is late"), capsys) == (75, "error: host 1 is late")


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("no rows"), 2), (ZeroDivisionError("bug"), 1)]
)
def test_connected_to_other_hosts_it_ends_at_once(capsys, monkeypatch, error, code):
    """At the end of the process JAX would wait for the others, which wait for this host."""
    ended = []
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(errors.os, "_exit", ended.append)
    with contextlib.suppress(SystemExit, ZeroDivisionError), one_line_errors():
        raise error
    assert ended == [code]
    told = capsys.readouterr().err
    assert str(error) in told
    assert ("Traceback" in told) == (code == 1)


def test_full_disk(capsys):
    full = OSError(errno.ENOSPC, "No space left on device", "prepared/x")
    code, line = ended_by(full, capsys)
    assert code == 2
    assert "disk is full (prepared/x)" in line


def test_full_disk_wrapped_by_a_library(capsys):
    wrapped = RuntimeError("write() failed: No space left on device; writing x")
    assert "the disk is full" in ended_by(wrapped, capsys)[1]
    outer = ValueError("could not save")
    outer.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    assert "quota" in ended_by(outer, capsys)[1]


def test_forbidden(capsys):
    assert ended_by(PermissionError(errno.EACCES, "Permission denied", "/etc/x"), capsys) == (
        2,
        "error: permission denied (/etc/x)",
    )


@pytest.mark.parametrize(
    ("encoding", "printed"), [("ascii", b"??? ??\n"), ("latin-1", b"??? \xb1\xe4\n")]
)
def test_no_encoding_makes_printing_fail(monkeypatch, encoding, printed):
    for name in ("stdout", "stderr"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding))
        with one_line_errors():
            print("▁▄█ ±ä", file=getattr(sys, name), flush=True)
        assert raw.getvalue() == printed


def test_a_path_that_does_not_fit(capsys, tmp_path):
    (tmp_path / "file").touch()
    for path, reason in {
        tmp_path / "file" / "x": "a part of the path is a file, not a folder",
        tmp_path: "it is a folder, not a file",
        tmp_path / ("x" * 300): "the name is too long",
        tmp_path / "none": "no such file or folder",
    }.items():
        with pytest.raises(SystemExit) as end, one_line_errors():
            path.read_bytes()
        assert end.value.code == 2
        assert capsys.readouterr().err == f"error: {reason} ({path})\n"


def test_interrupt(capsys):
    assert ended_by(KeyboardInterrupt(), capsys)[0] == 130


@pytest.mark.parametrize("bug", [ValueError("bug"), FileNotFoundError(errno.ENOENT, "gone")])
def test_a_bug_keeps_its_traceback(bug):
    with pytest.raises(type(bug)), one_line_errors():
        raise bug


def test_nothing_wrong():
    with one_line_errors():
        pass
