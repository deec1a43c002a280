"""The error that is the user's to mend, that of a missing host, and checks of fields; others are bugs."""

import dataclasses
import errno
import functools
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

Class = TypeVar("Class", bound=type)
PLAIN = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}
UNIONS = (Union, types.UnionType)


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


def brief(value: Any) -> str:
    """Returns the representation of a `value` for a message, shortened to 40 characters."""
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"


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
    _check_each(instance, names, lambda value: value >= minimum, f"at least {minimum}")


def check_at_most(instance: Any, maximum: float, *names: str) -> None:
    """Raises `InputError` where a field of a dataclass is above its maximum; None is let through.

    Args:
      instance: The dataclass, in its `__post_init__`.
      maximum: The largest allowed value.
      names: Names of the fields.
    """
    _check_each(instance, names, lambda value: value <= maximum, f"at most {maximum}")


def check_above(instance: Any, limit: float, *names: str) -> None:
    """Raises `InputError` where a field of a dataclass is not above a limit; None is let through.

    Args:
      instance: The dataclass, in its `__post_init__`.
      limit: The largest number that is refused.
      names: Names of the fields.
    """
    _check_each(instance, names, lambda value: value > limit, f"above {limit}")


def check_share(instance: Any, *names: str, zero: bool = True, one: bool = False) -> None:
    """Raises `InputError` where a field of a dataclass is no share between 0 and 1; None is let through.

    Args:
      instance: The dataclass, in its `__post_init__`.
      names: Names of the fields.
      zero: Whether 0 is allowed.
      one: Whether 1 is allowed.
    """
    limits = f"{'at least' if zero else 'above'} 0 and {'at most' if one else 'below'} 1"

    def is_share(value: Any) -> bool:
        return 0 < value < 1 or (zero and value == 0) or (one and value == 1)

    _check_each(instance, names, is_share, limits)


def _check_each(
    instance: Any, names: Iterable[str], allows: Callable[[Any], bool], limits: str
) -> None:
    """Raises `InputError` for a field that is not None and not allowed; NaN is allowed by no comparison."""
    for name in names:
        value = getattr(instance, name)
        if value is not None and not allows(value):
            raise InputError(f"{name}={value} must be {limits}")


def check_choice(instance: Any, name: str, choices: Iterable[str]) -> None:
    """Raises `InputError` where the field `name` of the dataclass `instance` is not among the `choices`."""
    value, known = getattr(instance, name), tuple(choices)
    if value not in known:
        listed = f"{', '.join(known[:-1])} or {known[-1]}"
        raise InputError(f"{name}={value!r} is unknown; use {listed}")


def checked(cls: Class) -> Class:
    """Lets a dataclass check the types of its fields before its own `__post_init__`.

        @dataclass(frozen=True)
        @checked
        class Head:
            norm: Literal["layer", "batch"] = "layer"

        Head(norm="bacth")        InputError: norm='bacth' is unknown; use layer or batch

    Args:
      cls: The class, before `dataclass` is applied to it.
    """
    own = getattr(cls, "__post_init__", None)

    def __post_init__(self: Any) -> None:
        check_types(self)
        if own is not None:
            own(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    return cls


def check_types(instance: Any, prefix: str = "") -> None:
    """Raises `InputError` where a field of a dataclass holds a value that its annotation does not allow.

    Args:
      instance: The dataclass. Dataclasses in its fields are checked, too.
      prefix: What stands before the names of its fields in the message.
    """
    cls: Any = type(instance)
    for name, kind in _annotations(cls).items():
        value = getattr(instance, name)
        if not fits(value, kind):
            raise InputError(f"{prefix}{name}={value!r} {_refusal(kind)}")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            check_types(value, f"{prefix}{name}.")


@functools.cache
def _annotations(cls: type) -> dict[str, Any]:
    """The types of the fields of a dataclass; none where an annotation cannot be resolved."""
    try:
        hints = typing.get_type_hints(cls)
    except NameError:  # a class of the user's own, defined inside a function
        return {}
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _is_no_plain_value(value: Any, kind: Any) -> bool:
    """Whether a value may stand for a class: another object may have its methods, a plain value has not."""
    is_plain = value is None or isinstance(value, (str, numbers.Number))
    return not is_plain or (kind in type(value).__mro__)


def fits(value: Any, kind: Any, may_be: Callable[[Any, Any], bool] = _is_no_plain_value) -> bool:
    """Returns whether an annotation allows a value.

    Args:
      value: The value of a field.
      kind: Its annotation: a class, `Any`, None, a `Literal`, a union, a tuple, a `dict`, or `Annotated`.
      may_be: Whether a value may stand for a class, or for another annotation that is not looked into. By
        default all objects but plain values do.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return fits(value, arguments[0], may_be)
    if origin in UNIONS:
        return any(fits(value, part, may_be) for part in arguments)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if origin is tuple or kind is tuple:
        return isinstance(value, (tuple, list)) and _all_fit(value, arguments, may_be)
    if origin is dict:
        return isinstance(value, dict) and all(
            fits(part, arguments[1], may_be) for part in value.values()
        )
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is int:
        return isinstance(value, numbers.Integral)
    if kind is float:
        return isinstance(value, numbers.Real) and not math.isnan(value)
    if kind is bool:
        return isinstance(value, bool)
    if kind is types.NoneType or kind is None:
        return value is None
    return kind is Any or isinstance(kind, TypeVar) or may_be(value, kind)


def _all_fit(values: Any, kinds: tuple[Any, ...], may_be: Callable[[Any, Any], bool]) -> bool:
    """Whether the parts of a tuple fit `tuple[kinds]`."""
    if not kinds:
        return True
    if kinds[-1] is Ellipsis:
        return all(fits(value, kinds[0], may_be) for value in values)
    return len(values) == len(kinds) and all(
        fits(value, kind, may_be) for value, kind in zip(values, kinds, strict=True)
    )


def _refusal(kind: Any) -> str:
    """What to use instead, as the end of a message."""
    parts = get_args(kind) if get_origin(kind) in UNIONS else (kind,)
    choices = [str(one) for part in parts if get_origin(part) is Literal for one in get_args(part)]
    others = [_in_words(part) for part in parts if get_origin(part) is not Literal]
    if choices:
        return f"is unknown; use {_one_of([*choices, *others])}"
    return f"must be {_one_of(others)}"


def _in_words(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is tuple:
        inner, several = get_args(kind)[0], get_args(kind)[-1] is Ellipsis
        count = "several" if several else str(len(get_args(kind)))
        example = (1, 2) if several else tuple(range(1, len(get_args(kind)) + 1))
        if inner in (int, float):
            return f"{count} {'whole ' * (inner is int)}numbers, such as {example}"
        return f"{count} values, each {_in_words(inner)}"
    if kind is types.NoneType or kind is None:
        return "None"
    return PLAIN.get(kind) or f"a {getattr(kind, '__name__', kind)}"


def _one_of(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
