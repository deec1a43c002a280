"""Writes the network of a run as a Hugging Face folder: config.json and safetensors.

    export = export_of(objective, spec)                  # raises where transformers has no such class
    write_network(folder, export, model, carried)

The family and the class follow from the objective. What a run has imported goes out as the class that it came
from, with the tensors that no parameter of ours was read from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np

from jaxssl.data.stores.json_files import write_json
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.family import FAMILIES, Family, family_of
from jaxssl.interop.huggingface.folder import CONFIG, Imported, canonical_names
from jaxssl.interop.huggingface.image_settings import PREPROCESSOR
from jaxssl.interop.huggingface.origin import Origin
from jaxssl.interop.huggingface.rules import write_parameters
from jaxssl.interop.huggingface.tensor_files import TensorFiles
from jaxssl.interop.huggingface.tensor_writing import LARGEST_FILE, Form, write_tensor_files

TYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


@dataclass(frozen=True)
class FolderExport:
    """As what a network goes out."""

    family: Family
    """The family of Hugging Face networks."""
    objective: Any
    """Objective of the run."""
    spec: Any
    """Description of what the network reads, a `TextSpec` or an `ImageSpec`."""
    architecture: str
    """Class of transformers, such as "BertForMaskedLM"."""
    config: dict[str, Any]
    """Content of config.json."""
    dtype: str = "float32"
    """Type of the tensors: float32, float16 or bfloat16."""
    unused: TensorFiles | None = None
    """Tensors that the folder of the import had beside ours; they are copied."""


def export_of(objective: Any, spec: Any) -> FolderExport:
    """Finds the class of transformers that computes what the network of an objective computes.

    Args:
      objective: Objective of the run.
      spec: Description of the data, a `TextSpec` or an `ImageSpec`.

    Raises:
      InputError: There is no such class; the message has the reason of the nearest family.
    """
    near: list[str] = []
    others: list[str] = []
    of_module = {module: name for name, module in reversed(FAMILIES.items())}  # one of its names
    for module in dict.fromkeys(FAMILIES.values()):
        name, reasons = of_module[module], others
        try:
            family = family_of({"model_type": name})
            architecture = family.architecture(objective)
            reasons = near  # it has such networks, and this one differs in a field
            config = family.config(objective, spec, architecture)
        except (InputError, AttributeError) as error:  # it may lack the fields of other objectives
            reasons.append(f"{name}: {error}")
            continue
        config = config | {"dtype": "float32"}
        return FolderExport(family, objective, spec, architecture, config)
    raise InputError(
        f"transformers has no class that computes what this {type(objective).__name__} does "
        f"({'; '.join((near or others)[:2])}); export it to numpy or stablehlo"
    )


def export_again(found: Imported | Origin, objective: Any, spec: Any) -> FolderExport:
    """Says how a network goes out that came from a Hugging Face folder: as the class and in the type it had.

    Args:
      found: What was imported, or what the run keeps of it.
      objective: Objective of the run, that of the import, perhaps with more tokens.
      spec: Description of the data.

    Raises:
      InputError: The objective is another one, which the class does not compute.
    """
    family = family_of(found.config)
    config = family.config(objective, spec, found.architecture)
    config.pop("num_labels", None)  # a classifier goes out as it came
    return FolderExport(
        family,
        objective,
        spec,
        found.architecture,
        found.config | config | {"dtype": found.dtype},
        found.dtype,
        found.unused,
    )


def write_network(
    folder: Path, export: FolderExport, model: Any, carried: Any, *, largest: int = LARGEST_FILE
) -> None:
    """Writes config.json and safetensors, one tensor at a time.

    Args:
      folder: An existing folder.
      export: As what the network goes out.
      model: The model of the run.
      carried: What the objective carries, with the running statistics of batch norms.
      largest: Bytes of the tensors of a file.
    """
    hollow, state = (jax.tree.map(_without_memory, tree) for tree in (model, carried))
    forms = {
        name: Form(array.shape, array.dtype) for name, array in _tensors(export, hollow, state)
    }
    write_tensor_files(folder, forms, _tensors(export, model, carried), largest=largest)
    write_json(folder / CONFIG, export.config, indent=2)
    preparation = export.family.preprocessor(export.objective, export.spec)
    if preparation is not None:
        write_json(folder / PREPROCESSOR, dict(preparation), indent=2)


def _tensors(export: FolderExport, model: Any, carried: Any) -> Iterator[tuple[str, np.ndarray]]:
    """All tensors of the folder, one after another."""
    dtype, family = TYPES[export.dtype], export.family
    yield from write_parameters(
        family.rules(export.objective, export.architecture), model, dtype=dtype
    )
    state_rules = family.state_rules(export.objective, export.architecture)
    yield from write_parameters(state_rules, carried, dtype=dtype)
    unused = (
        {} if export.unused is None else {n: export.unused.view(n) for n in export.unused.names}
    )
    constants = family.constants(export.objective, export.spec, export.architecture)
    held = canonical_names(unused, dict.fromkeys(constants, ()))  # an import brings its own
    for name, array in constants.items():
        if name not in held:
            yield name, array.astype(dtype) if array.dtype.kind == "f" else array
    yield from unused.items()


def _without_memory(leaf: Any) -> np.ndarray:
    """An array of the shape and the type of a parameter, all of whose numbers are the same one."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
