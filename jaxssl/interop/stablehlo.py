"""Writes and reads functions as StableHLO, with their parameters inside: one file for CPUs, GPUs and TPUs.

    write_stablehlo("model.stablehlo", function, {"tokens": (("batch", "length"), "int32")}, {"length": 512})
    call = read_stablehlo("model.stablehlo")
    call(tokens=tokens)["logits"]                     # any number of rows, of at most 512 tokens

The file is what `jax.export` serializes. It needs `flatbuffers` (`pip install flatbuffers`), and it is
read by `jax.export.deserialize` without jaxssl; JAX keeps it readable for three years of its releases.
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax import export

from jaxssl.errors import InputError

PLATFORMS = ("cpu", "cuda", "tpu")
LARGEST = 2**31 - 2**24  # bytes that a flatbuffer holds, with room for the program
Shapes = Mapping[str, tuple[tuple[str | int, ...], str]]


def write_stablehlo(
    path: str | Path,
    function: Callable[..., Any],
    inputs: Shapes,
    limits: Mapping[str, int] | None = None,
) -> None:
    """Compiles a function for all platforms and writes it to a file.

    Args:
      path: File to write.
      function: Function of arrays by name; arrays that it closes over, such as parameters, are stored.
      inputs: Shape and type of each array. A name in a shape, such as "batch", stands for any size.
      limits: Largest size of the axes that have one, by their names.

    Raises:
      InputError: `flatbuffers` is not installed.
    """
    check_stablehlo()
    names = {part: None for shape, _ in inputs.values() for part in shape if isinstance(part, str)}
    sizes: dict[str | int, Any] = {}
    if names:
        bounds = [f"{name} <= {limit}" for name, limit in (limits or {}).items()]
        symbols = export.symbolic_shape(", ".join(names), constraints=bounds)
        sizes.update(zip(names, symbols, strict=True))
    arguments = {
        name: jax.ShapeDtypeStruct(tuple(sizes.get(part, part) for part in shape), dtype)
        for name, (shape, dtype) in inputs.items()
    }
    exported = export.export(jax.jit(function), platforms=PLATFORMS)(**arguments)
    Path(path).write_bytes(exported.serialize())


def check_stablehlo(stored_bytes: int = 0) -> None:
    """Raises `InputError` where arrays of `stored_bytes` cannot be written as StableHLO here."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise InputError(
            "StableHLO needs the package flatbuffers; pip install flatbuffers, or export to numpy"
        )
    if stored_bytes > LARGEST:
        raise InputError(
            f"the parameters have {stored_bytes / 2**30:.1f} GiB, and a StableHLO file holds at most "
            f"{LARGEST / 2**30:.1f} GiB; export to huggingface or numpy"
        )


def read_stablehlo(path: str | Path) -> Callable[..., Any]:
    """Reads a function from a file that `write_stablehlo` has written.

    Args:
      path: The file.

    Returns:
      The function of arrays by name, on the platform at hand.

    Raises:
      InputError: `flatbuffers` is not installed, or the file is missing or no exported function.
    """
    check_stablehlo()
    try:
        exported = export.deserialize(bytearray(Path(path).read_bytes()))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    except Exception as error:  # flatbuffers has no error of its own for other content
        raise InputError(f"{path} is no function that jax.export has written ({error})") from error
    return exported.call
