"""Reads and writes the settings of a `SentenceTransformer`: a Hugging Face folder with three files more.

modules.json                  the modules: the network, pooling, and perhaps normalisation
1_Pooling/config.json         how the states of a text become one vector
sentence_bert_config.json     how many tokens of a text are read
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.stores.json_types import short
from jaxssl.errors import InputError
from jaxssl.models.layers.pooling import Pooling

MODULES = "modules.json"
SETTINGS = "sentence_bert_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
POOLING_FOLDER = "1_Pooling"
# Our pooling -> its field in files of versions before 6, which all versions read
FIELDS: dict[Pooling, str] = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
    "max": "pooling_mode_max_tokens",
}
# Its name in files of version 6 -> our pooling
NAMES: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last", "max": "max"}


class Module(TypedDict):
    """An entry of `modules.json`."""

    path: str
    """Folder of the module's files; "" for the folder itself."""
    type: str
    """Python class, such as "sentence_transformers.models.Pooling"."""


@dataclass(frozen=True)
class SentenceSettings:
    """How a `SentenceTransformer` makes the vector of a text from the states of its network."""

    pooling: Pooling = "mean"
    """How the states of a text become one vector."""
    normalized: bool = False
    """Whether the vector is divided by its Euclidean length."""
    max_length: int | None = None
    """Tokens that are read of a text, those around it included; None: all that the network takes."""


def read_sentence_settings(folder: str | Path) -> SentenceSettings | None:
    """Reads the settings of a folder.

    Args:
      folder: A Hugging Face folder.

    Returns:
      The settings, or None if the folder is not that of a `SentenceTransformer`.

    Raises:
      InputError: A file is damaged, or the vectors of the folder are made by a module, a pooling or a
        preparation of texts that jaxssl does not have.
    """
    folder = Path(folder)
    if not (folder / MODULES).is_file():
        return None
    modules = read_json(folder / MODULES, list[Module])
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise InputError(
            f"{folder / MODULES} lists the modules {', '.join(map(short, kinds))}; only a Transformer, "
            "Pooling and perhaps Normalize can be read"
        )
    if modules[0]["path"]:
        raise InputError(
            f"{folder / MODULES} has the network in the folder {short(modules[0]['path'])}; move its files "
            f"up to {folder}"
        )
    pooling = _read_pooling(_inside(folder, modules[1]["path"]) / "config.json")
    return SentenceSettings(pooling, len(kinds) == 3, _read_max_length(folder))


def write_modules(
    folder: str | Path,
    *,
    width: int,
    pooling: Pooling,
    max_length: int,
    normalized: bool = False,
) -> None:
    """Writes the files that make a Hugging Face folder of a network of texts a `SentenceTransformer`.

    Args:
      folder: Folder with the config.json, the tensors and the tokenizer of the network.
      width: Width of the states.
      pooling: How the states of a text become one vector.
      max_length: Tokens that are read of a text, those around it included.
      normalized: Whether vectors are divided by their Euclidean lengths.
    """
    folder = Path(folder)
    parts = [("", "Transformer"), (POOLING_FOLDER, "Pooling")]
    parts += [("2_Normalize", "Normalize")] if normalized else []
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (path, kind) in enumerate(parts)
    ]
    write_json(folder / MODULES, modules, indent=2)
    write_json(folder / SETTINGS, {"max_seq_length": max_length, "do_lower_case": False}, indent=2)
    for path, _ in parts[1:]:
        (folder / path).mkdir(exist_ok=True)
    modes = {field: name == pooling for name, field in FIELDS.items()}
    write_json(
        folder / POOLING_FOLDER / "config.json",
        {"word_embedding_dimension": width, **modes},
        indent=2,
    )
    similarity: dict[str, Any] = {
        "similarity_fn_name": "cosine",
        "prompts": {},
        "default_prompt_name": None,
    }
    write_json(folder / "config_sentence_transformers.json", similarity, indent=2)


def _inside(folder: Path, path: str) -> Path:
    """The folder of a module, which must be below that of the network."""
    found = folder / path
    if not found.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder / MODULES} names the folder {short(path)} outside of {folder}")
    return found


def _read_pooling(path: Path) -> Pooling:
    """The pooling that a config.json of the module Pooling names."""
    config: Mapping[str, Any] = read_json(path, dict[str, Any])
    ours = {field: name for name, field in FIELDS.items()}
    if "pooling_mode" in config:
        said = config["pooling_mode"]
        names = said if isinstance(said, list) else [said]
        found = [NAMES.get(name) if isinstance(name, str) else None for name in names]
    else:
        names = [
            field for field, is_on in config.items() if "pooling_mode" in field and is_on is True
        ]
        found = [ours.get(field) for field in names]
    if len(found) != 1 or found[0] is None:
        raise InputError(
            f"{path} has the pooling {', '.join(map(short, names)) or 'none'}; one of {', '.join(NAMES)} can "
            "be read"
        )
    return found[0]


def _read_max_length(folder: Path) -> int | None:
    """How many tokens are read, by the file of the module Transformer, else by that of the tokenizer."""
    if (folder / SETTINGS).is_file():
        settings: Mapping[str, Any] = read_json(folder / SETTINGS, dict[str, Any])
        if settings.get("do_lower_case"):
            raise InputError(
                f"{folder / SETTINGS} has do_lower_case=true, and texts are not lower-cased here; lower-case "
                "your texts, and set it to false"
            )
        length = settings.get("max_seq_length")
        if length is not None:
            if type(length) is not int or length < 3:
                raise InputError(
                    f"{folder / SETTINGS} has max_seq_length={short(length)}; set it to a whole number of at "
                    "least 3"
                )
            return length
    if (folder / TOKENIZER_CONFIG).is_file():
        text = (folder / TOKENIZER_CONFIG).read_text(encoding="utf-8", errors="replace")
        # Of 31 digits where there is no limit
        found = re.search(r'"model_max_length"\s*:\s*(\d{1,8})\s*[,}]', text)
        return max(int(found[1]), 3) if found else None
    return None
