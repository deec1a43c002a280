"""A model as a plain nested dict of arrays, the form on disk: it does not depend on the framework."""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.errors import InputError
from jaxssl.sharding.layout import path_of

Model = TypeVar("Model")

SHOWN = 12  # mismatches that an error lists


def to_dict(model: Any) -> dict[str, Any]:
    """Returns the arrays of a `model` by the names on their paths, without copying them.

    For example {"layers": {"attention": {"query": {"kernel": array, ...}}}, ...}.
    """
    nested: dict[str, Any] = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(model):
        *folders, name = path_of(keys).split("/")
        inner = nested
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = leaf
    return nested


def from_dict(template: Model, nested: Mapping[str, Any]) -> Model:
    """Puts the arrays of a nested dict into a model.

    Args:
      template: A model of the wanted structure, or its `jax.eval_shape`.
      nested: Arrays by the names on their paths, as `to_dict` returns them. Arrays of a narrower type are
        converted to the model's (bfloat16 to float32).

    Returns:
      A model like the template with these arrays.

    Raises:
      InputError: Parameters are missing, are left over, or have another shape or a wider type; all of
        them are listed.
    """
    given = dict(_flat(nested))
    leaves, form = jax.tree_util.tree_flatten_with_path(template)
    wanted = [(path_of(keys), leaf) for keys, leaf in leaves]
    faults = [f"{path}: missing" for path, _ in wanted if path not in given]
    faults += [
        f"{path}: not a parameter of the model"
        for path in sorted(given.keys() - {p for p, _ in wanted})
    ]
    faults += [
        f"{path}: {_form(given[path])} where the model has {_form(leaf)}"
        for path, leaf in wanted
        if path in given and not _fits(given[path], leaf)
    ]
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise InputError(
            f"these are the parameters of another model: {'; '.join(faults[:SHOWN])}{more}. "
            "Pass the configuration that they were saved with"
        )
    return jax.tree.unflatten(form, [_as(given[path], leaf) for path, leaf in wanted])


def _flat(nested: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    rows = []
    for name, value in nested.items():
        rows += (
            _flat(value, f"{above}{name}/")
            if isinstance(value, Mapping)
            else [(f"{above}{name}", value)]
        )
    return rows


def _form(leaf: Any) -> str:
    return f"{np.dtype(leaf.dtype).name}{list(leaf.shape)}"


def _fits(given: Any, wanted: Any) -> bool:
    return (
        tuple(given.shape) == tuple(wanted.shape)
        and jnp.promote_types(given.dtype, wanted.dtype) == wanted.dtype
    )


def _as(given: Any, wanted: Any) -> Any:
    array = given if isinstance(given, jax.Array) else jnp.asarray(given)
    return array if array.dtype == wanted.dtype else array.astype(wanted.dtype)
