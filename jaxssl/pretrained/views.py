"""Finds the augmentations of an objective, those of the user's own included."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxssl.augment import Augmentation, MultiCrop
from jaxssl.pretrained.images import views_of

Views = Callable[[Any, Any], Any]  # (pixels, keys) -> images
NAMES = ("views", "crops")  # fields that hold augmentations, also functions


def augmentations_of(value: Any, name: str = "") -> list[Views]:
    """Returns the augmentations that an objective calls.

    An augmentation of the user's own that wraps one of the library is returned as a whole.

    Args:
      value: An objective, or a value within it. Tuples and the fields of dataclasses are searched at any
        depth for an `Augmentation`, a `MultiCrop` (those of its large and of its small views), and
        objects that can be called and hold one.
      name: Name of the field that holds the value.
    """
    if isinstance(value, MultiCrop):
        return [*value.large_kinds, value.small]
    holds = isinstance(value, Augmentation) or bool(views_of(value)) or name in NAMES
    if callable(value) and not isinstance(value, type) and holds:
        return [value]
    if isinstance(value, tuple):
        parts = [(part, name) for part in value]
    elif dataclasses.is_dataclass(value):
        parts = [(getattr(value, field.name), field.name) for field in dataclasses.fields(value)]
    else:
        parts = []
    return [views for part in parts for views in augmentations_of(*part)]


def inner_augmentation(views: Views) -> Augmentation:
    """Returns the `Augmentation` that `views` is or wraps; one that changes nothing if there is none."""
    inside = views_of(views) or [
        part for value in getattr(views, "__dict__", {}).values() for part in views_of(value)
    ]
    return inside[0] if inside else Augmentation(crop=None, flip=0.0)
