"""Ends a command line with one line and an exit code, without a traceback, if the error is the user's to fix.

    2    an InputError, a full disk, a file that is missing, is none, or may not be read or written
    75   another host of the run is gone
    130  Ctrl-C

Every other error is a bug of jaxssl and keeps its traceback. `jaxssl/exit_codes.py` has all codes.
"""

import contextlib
import errno
import io
import os
import sys
import traceback
from collections.abc import Iterator

from jaxssl.errors import HostIsGone, InputError, causes
from jaxssl.exit_codes import ExitCode

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
FORBIDDEN = {
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
}
NO_FILE = {
    errno.ENOENT: "no such file or folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder, not a file",
    errno.EEXIST: "it exists already",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links lead in a circle",
}


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Returns a context for a command line: it prints an error that the user can fix in one line and exits.

    Example:

        if __name__ == "__main__":
            with one_line_errors():
                main()
    """
    _never_fail_to_print()
    try:
        yield
    except InputError as error:
        _leave(str(error), ExitCode.WRONG_INPUT)
    except HostIsGone as error:
        _leave(str(error), ExitCode.HOST_IS_GONE)
    except KeyboardInterrupt:
        _leave("interrupted; the same command goes on from what was saved", ExitCode.INTERRUPTED)
    except BrokenPipeError:  # `jaxssl … | head`: the reader of the pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.BUG)
    except Exception as error:
        line = _line_of_system_error(error)
        if line is None:
            if _has_other_hosts():
                traceback.print_exc()
                sys.stdout.flush()
                os._exit(ExitCode.BUG)
            raise
        _leave(line, ExitCode.WRONG_INPUT)


def _never_fail_to_print() -> None:
    """Prints "?" for a character that the encoding of a stream lacks, such as ▁ in ISO-8859-1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _leave(line: str, code: int) -> None:
    print("error: " + " ".join(line.split()), file=sys.stderr, flush=True)
    if _has_other_hosts():
        sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def _has_other_hosts() -> bool:
    """Returns whether JAX is connected to other hosts, for which it would wait at the end of the process.

    They wait for this one in turn. Where it ends at once, their watches see it, and name it.
    """
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized()


def _line_of_system_error(error: BaseException) -> str | None:
    """Returns the line for a full disk or a forbidden file, also if a library has wrapped the error.

    A path that does not fit counts only where nothing has wrapped the error: it may have been expected.
    """
    if isinstance(error, OSError) and error.errno in NO_FILE and error.filename:
        return f"{NO_FILE[error.errno]} ({error.filename})"
    for cause in causes(error):
        number = cause.errno if isinstance(cause, OSError) else None
        where = f" ({cause.filename})" if isinstance(cause, OSError) and cause.filename else ""
        if number in FULL or os.strerror(errno.ENOSPC) in str(cause):
            reason = FULL.get(number or errno.ENOSPC, FULL[errno.ENOSPC])
            return f"{reason}{where}; free some space and run the same command again"
        if number in FORBIDDEN:
            return f"{FORBIDDEN[number]}{where}"
    return None
