"""The one error that is the user's to mend; everything else is a bug and keeps its traceback."""

import errno
import os
from collections.abc import Iterator


class InputError(ValueError):
    """An input that the library refuses; its message names the value, the limit and the way out.

    A command line prints it as one line and exits with code 2.
    """


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and, one after another, what it was raised from."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def is_full_disk(error: BaseException) -> bool:
    """Whether a file could not be written for want of space, also where a library wrapped this."""
    return any(
        (isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT))
        or os.strerror(errno.ENOSPC) in str(cause)
        for cause in causes(error)
    )
