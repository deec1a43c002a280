"""Checks of arguments: an argument that a loss cannot mean is refused, with its value, limit and the way out.

Shapes and types are always checked. Numbers are checked where they are known: inside `jit`, `grad` or
a mapped function arrays are traced, and their values are not at hand.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def is_known(value: Any) -> bool:
    """Returns whether the numbers of `value` can be read: it is neither traced nor on other hosts."""
    if isinstance(value, jax.core.Tracer):
        return False
    return not isinstance(value, jax.Array) or value.is_fully_addressable


def check_floats(**arrays: Any) -> None:
    """Raises ValueError unless every argument is an array of floating-point numbers."""
    for name, array in arrays.items():
        _check_array(name, array)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise ValueError(
                f"{name} of type {array.dtype} must be floating-point: pass "
                f"{name}.astype(jnp.float32)"
            )


def check_numbers(**arrays: Any) -> None:
    """Raises ValueError unless every argument is an array of real numbers or truth values."""
    for name, array in arrays.items():
        _check_array(name, array)
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise ValueError(f"{name} of type {array.dtype} must be real: pass {name}.real")


def checked_weights(
    weights: Any, shape: tuple[int, ...], of: str
) -> Float[Array, "*rows"] | Bool[Array, "*rows"]:
    """Checks that weights are non-negative numbers, one for each row; `None` gives ones.

    Args:
      weights: Weights as they were passed.
      shape: Shape that they must have.
      of: What they weight, for the message, for instance "each row of first (8, 16)".

    Returns:
      The weights as an array.

    Raises:
      ValueError: They are no array, have another shape, or hold numbers that are negative, infinite or
        NaN.
    """
    if weights is None:
        return jnp.ones(shape)
    if isinstance(weights, (bool, int, float)):
        raise ValueError(
            f"weights={weights} must be an array of shape {shape}, one number for {of}; options such as "
            f"the temperature are keyword arguments, for instance temperature={weights}"
        )
    check_numbers(weights=weights)
    if weights.shape != shape:
        raise ValueError(f"weights of shape {weights.shape} must be {shape}, one number for {of}")
    if is_known(weights) and weights.size and weights.dtype != bool:
        with jax.ensure_compile_time_eval():
            least, most = float(jnp.min(weights)), float(jnp.max(weights))
        if not (least >= 0 and most < math.inf):
            raise ValueError(
                f"weights hold {most if least >= 0 else least}, and must be numbers of 0 or more; give 0 "
                "to what is to be left out"
            )
    return jnp.asarray(weights)


def check_classes(
    targets: Any, rows: tuple[int, ...], classes: int, *, name: str = "targets", of: str
) -> None:
    """Raises ValueError unless targets are integers, one for each row; a one-hot array is named as such.

    Args:
      targets: Targets as they were passed.
      rows: Shape that they must have.
      classes: Number of classes.
      name: Name of the argument.
      of: What they belong to, for the message, for instance "logits of shape (8, 10)".
    """
    _check_array(name, targets)
    if targets.shape == (*rows, classes) and targets.shape != rows:
        raise ValueError(
            f"{name} of shape {targets.shape} look one-hot: {of} need the number of the right class, of "
            f"shape {rows}; pass {name}.argmax(axis=-1)"
        )
    if targets.shape != rows:
        raise ValueError(f"{of} need {name} of shape {rows}, not {targets.shape}")
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(
            f"{name} of type {targets.dtype} must be integers, the numbers of the right classes: pass "
            f"{name}.astype(int)"
        )


def check_range(
    targets: Int[Array, "*rows"],
    weights: Float[Array, "*rows"] | Bool[Array, "*rows"],
    classes: int,
    *,
    way_out: str = "",
) -> None:
    """Raises ValueError where a known target that has weight is below 0 or not below `classes`.

    Args:
      targets: Targets, `[...]`.
      weights: Their weights, `[...]`.
      classes: Number of classes.
      way_out: What else the caller may do, for the message.
    """
    if not (is_known(targets) and is_known(weights) and targets.size):
        return
    with jax.ensure_compile_time_eval():
        wrong = ((targets < 0) | (targets >= classes)) & (weights > 0)
        if not bool(wrong.any()):
            return
        first = int(targets.ravel()[jnp.argmax(wrong.ravel())])
    raise ValueError(
        f"targets hold {first} where the weight is above 0, and must be 0 to {classes - 1}; give what is "
        f"not to be predicted weight 0{way_out}"
    )


def without_ignored(
    targets: Int[Array, "*rows"],
    weights: Float[Array, "*rows"] | Bool[Array, "*rows"],
    ignore_index: int | None,
) -> Float[Array, "*rows"] | Bool[Array, "*rows"]:
    """Takes the weight of the targets that are to be ignored.

    Args:
      targets: Targets, `[...]`.
      weights: Their weights, `[...]`.
      ignore_index: Target that gets weight 0; `None` ignores nothing.

    Returns:
      Weights, `[...]`.

    Raises:
      ValueError: `ignore_index` is no integer.
    """
    if ignore_index is None:
        return weights
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, int):
        raise ValueError(f"ignore_index={ignore_index!r} must be an integer, such as -100, or None")
    return jnp.where(targets == ignore_index, jnp.zeros_like(weights), weights)


def check_temperature(value: Any, name: str = "temperature") -> None:
    """Raises ValueError where a known temperature, the `value` of `name`, is not finite and above 0."""
    number = _known_number(name, value)
    if number is not None and not 0 < number < math.inf:
        raise ValueError(f"{name}={value} must be above 0, because it divides what is compared")


def check_factor(value: Any, name: str) -> None:
    """Raises ValueError where a known factor, the `value` of `name`, is negative, infinite or NaN."""
    number = _known_number(name, value)
    if number is not None and not 0 <= number < math.inf:
        raise ValueError(f"{name}={value} must be at least 0; 0 leaves the term out")


def check_part(value: Any, name: str) -> None:
    """Raises ValueError where a known number, the `value` of argument `name`, is not between 0 and 1."""
    number = _known_number(name, value)
    if number is not None and not 0 <= number <= 1:
        raise ValueError(f"{name}={value} must be between 0 and 1")


def check_finite(value: Any, name: str) -> None:
    """Raises ValueError where a known number, the `value` of argument `name`, is infinite or NaN."""
    number = _known_number(name, value)
    if number is not None and not math.isfinite(number):
        raise ValueError(f"{name}={value} must be a finite number")


def check_count(value: Any, name: str, way_out: str) -> None:
    """Raises ValueError unless `value` of `name` is an integer from 1; `way_out` says what to pass."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}={value!r} must be an integer of at least 1; {way_out}")


def check_block_size(value: Any, rows: str) -> None:
    """Raises ValueError unless `value` is None or an integer of at least 1; `rows` are what it counts."""
    if value is not None:
        check_count(value, "block_size", f"it counts {rows}, and None chooses it")


def _check_array(name: str, array: Any) -> None:
    if not all(hasattr(array, part) for part in ("shape", "dtype", "ndim")):
        raise ValueError(
            f"{name} of type {type(array).__name__} must be an array: pass jnp.asarray({name})"
        )


def _known_number(name: str, value: Any) -> float | None:
    """The number, or None where it is traced. Raises ValueError where it is no single number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number and getattr(value, "shape", None) != ():
        shown = f" of shape {value.shape}" if hasattr(value, "shape") else f"={value!r}"
        raise ValueError(f"{name}{shown} must be a single number")
    return float(value) if is_known(value) else None
