"""The error that is the user's to mend, and that of a missing host; all others are bugs with a traceback."""

import errno
import os
from collections.abc import Iterable, Iterator
from typing import Any


class InputError(ValueError):
    """An input that the library refuses; its message names the value, the limit and the way out.

    A command line prints it as one line and exits with code 2.
    """


class HostIsGone(Exception):
    """Another host of the run is not there; a command line prints it as one line and exits with code 75."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and, one after another, what it was raised from."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__


def is_full_disk(error: BaseException) -> bool:
    """Returns whether `error`, or what it was raised from, says that a disk is full."""
    return any(
        (isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT))
        or os.strerror(errno.ENOSPC) in str(cause)
        for cause in causes(error)
    )


def check_at_least(instance: Any, minimum: float, *names: str) -> None:
    """Raises `InputError` where a field of a dataclass is below its minimum; None is let through.

    Args:
      instance: The dataclass, in its `__post_init__`.
      minimum: The smallest allowed value.
      names: Names of the fields.
    """
    for name in names:
        value = getattr(instance, name)
        if value is not None and not value >= minimum:  # refuses NaN, too
            raise InputError(f"{name}={value} must be at least {minimum}")


def check_at_most(instance: Any, maximum: float, *names: str) -> None:
    """Raises `InputError` where a field of a dataclass is above its maximum; None is let through.

    Args:
      instance: The dataclass, in its `__post_init__`.
      maximum: The largest allowed value.
      names: Names of the fields.
    """
    for name in names:
        value = getattr(instance, name)
        if value is not None and not value <= maximum:
            raise InputError(f"{name}={value} must be at most {maximum}")


def check_above(instance: Any, limit: float, *names: str) -> None:
    """Raises `InputError` where a field of a dataclass is not above a limit; None is let through.

    Args:
      instance: The dataclass, in its `__post_init__`.
      limit: The largest number that is refused.
      names: Names of the fields.
    """
    for name in names:
        value = getattr(instance, name)
        if value is not None and not value > limit:
            raise InputError(f"{name}={value} must be above {limit}")


def check_share(instance: Any, *names: str, zero: bool = True, one: bool = False) -> None:
    """Raises `InputError` where a field of a dataclass is no share between 0 and 1; None is let through.

    Args:
      instance: The dataclass, in its `__post_init__`.
      names: Names of the fields.
      zero: Whether 0 is allowed.
      one: Whether 1 is allowed.
    """
    limits = f"{'at least' if zero else 'above'} 0 and {'at most' if one else 'below'} 1"
    for name in names:
        value = getattr(instance, name)
        if value is None or 0 < value < 1 or (zero and value == 0) or (one and value == 1):
            continue
        raise InputError(f"{name}={value} must be {limits}")


def check_choice(instance: Any, name: str, choices: Iterable[str]) -> None:
    """Raises `InputError` where the field `name` of the dataclass `instance` is not among the `choices`."""
    value, known = getattr(instance, name), tuple(choices)
    if value not in known:
        listed = f"{', '.join(known[:-1])} or {known[-1]}"
        raise InputError(f"{name}={value!r} is unknown; use {listed}")
