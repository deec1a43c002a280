"""Checks the fields of configurations against their annotations, in one place for all classes.

    @dataclass(frozen=True)
    @checked
    class Head:
        norm: Literal["layer", "batch"] = "layer"
        widths: tuple[int, ...] = (64,)

    Head(norm="bacth")        InputError: norm='bacth' is unknown; use layer or batch
    Head(widths=(2.5,))       InputError: widths=(2.5,) must be several whole numbers, such as (1, 2)

Python itself accepts any value for any field. Ranges are checked by `jaxssl.errors.check_at_least` and its
kin.
"""

import dataclasses
import functools
import math
import numbers
import types
import typing
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from jaxssl.errors import InputError

Class = TypeVar("Class", bound=type)
PLAIN = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}
UNIONS = (Union, types.UnionType)


def checked(cls: Class) -> Class:
    """Lets a dataclass check the types of its fields before its own `__post_init__`.

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
        if not _fits(value, kind):
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


def _fits(value: Any, kind: Any) -> bool:
    """Whether an annotation allows a value; of other classes only plain values are known not to fit."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in UNIONS:
        return any(_fits(value, part) for part in arguments)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if kind is tuple or origin is tuple:
        return isinstance(value, (tuple, list)) and _all_fit(value, arguments)
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is int:
        return isinstance(value, numbers.Integral)
    if kind is float:
        return isinstance(value, numbers.Real) and not math.isnan(value)
    if kind is types.NoneType or kind is None:
        return value is None
    if kind is Any or isinstance(kind, TypeVar):
        return True
    is_plain = value is None or isinstance(value, (str, numbers.Number))
    return not is_plain or (isinstance(kind, type) and isinstance(value, kind))


def _all_fit(values: Any, kinds: tuple[Any, ...]) -> bool:
    """Whether the parts of a tuple fit `tuple[kinds]`."""
    if not kinds:
        return True
    if kinds[-1] is Ellipsis:
        return all(_fits(value, kinds[0]) for value in values)
    return len(values) == len(kinds) and all(map(_fits, values, kinds))


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
