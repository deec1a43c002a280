"""Where the network of a run came from: the class and the tensors of a Hugging Face folder, kept for writing.

RUN/hugging_face/config.json          that of the folder
RUN/hugging_face/origin.json          class and type of the parameters, names of tensors that were missing
RUN/hugging_face/model.safetensors    tensors that no parameter of ours was read from, byte for byte
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.interop.huggingface.folder import CONFIG, Imported, read_config
from jaxssl.interop.huggingface.tensor_files import TensorFiles, open_tensors
from jaxssl.interop.huggingface.tensor_writing import Form, write_tensor_files

ORIGIN, NOTES = "hugging_face", "origin.json"


@dataclass(frozen=True)
class Notes:
    """The content of origin.json."""

    folder: str
    """Folder that was imported."""
    architecture: str
    """Class that it was saved from, such as "BertForMaskedLM"."""
    dtype: Literal["float32", "float16", "bfloat16"]
    """Type of its parameters."""
    missing: tuple[str, ...]
    """Tensors that it lacked."""


@dataclass(frozen=True)
class Origin:
    """What a run keeps of the folder that it was imported from."""

    config: dict[str, Any]
    """Content of config.json."""
    architecture: str
    """Class that the folder was saved from, such as "BertForMaskedLM"."""
    dtype: str
    """Type of its parameters: float32, float16 or bfloat16."""
    missing: tuple[str, ...]
    """Tensors that the folder lacked."""
    unused: TensorFiles
    """Tensors that no parameter was read from, by their names in the folder."""


def write_origin(run: Path, folder: str, found: Imported) -> None:
    """Writes what a run keeps of the folder that it was imported from.

    Args:
      run: Folder of the run.
      folder: Name of the folder that was imported.
      found: What it holds.
    """
    into = run / ORIGIN
    into.mkdir(parents=True, exist_ok=True)
    write_json(into / CONFIG, found.config)
    notes = Notes(folder, found.architecture, found.dtype, found.missing)  # type: ignore[arg-type]
    write_json(into / NOTES, asdict(notes))
    forms = {
        name: Form(stored.shape, stored.dtype) for name, stored in found.unused.tensors.items()
    }
    write_tensor_files(into, forms, ((name, found.unused.view(name)) for name in forms))


def read_origin(run: Path) -> Origin | None:
    """Returns what a `run` keeps of the folder that it was imported from; None for a run that was trained.

    Raises:
      InputError: A file of it is missing or damaged.
    """
    folder = run / ORIGIN
    if not folder.is_dir():
        return None
    notes = read_json(folder / NOTES, Notes)
    return Origin(
        read_config(folder), notes.architecture, notes.dtype, notes.missing, open_tensors(folder)
    )
