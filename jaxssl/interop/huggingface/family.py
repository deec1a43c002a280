"""What a family of Hugging Face networks has to say, and the table of families.

A family is a file of `families/` with a frozen dataclass that inherits from `Family`, and one of it bound to
`FAMILY`. `folder.py` reads folders with it, and the export writes them.

Beside the five methods of the first draft there are, each with a default:
  - `base`: architecture of a folder whose config.json names none;
  - `spec`: what the network reads, by default texts (`specs.py`); image families write their own;
  - `state_rules`: the table of what an objective carries beside parameters (running statistics);
  - `constants`: tensors of a class that are computed here, such as sine positions;
  - `preprocessor`: how images are prepared.
Names are canonical: those of the newest transformers, with the prefix of the architecture. Old names and
missing or additional prefixes of a file are mapped to them in `folder.py`.
"""

import importlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from jaxssl.data.images import ImageSpec
from jaxssl.data.rows import TextSpec
from jaxssl.data.stores.json_types import short
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.rules import Rule
from jaxssl.interop.huggingface.specs import text_spec

# `model_type` of a config.json -> module of `families/`. It is imported when it is needed.
FAMILIES = {
    "bert": "bert",
    "roberta": "roberta",
    "xlm-roberta": "roberta",
    "roberta-prelayernorm": "roberta_prelayernorm",
    "distilbert": "distilbert",
    "electra": "electra",
    "modernbert": "modernbert",
    "gpt2": "gpt2",
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "llama",
    "qwen3": "llama",
    "t5": "t5",
    "bart": "bart",
    "vit": "vit",
    "vit_mae": "vit_mae",
    "clip": "clip",
    "siglip": "siglip",
    "resnet": "resnet",
}


class Family(Protocol):
    """How the folders of a family describe objectives of ours."""

    base: ClassVar[str] = ""
    """Architecture of a folder whose config.json names none, such as "BertModel"."""

    @abstractmethod
    def objective(self, config: Mapping[str, Any], architecture: str) -> Any:
        """Returns the objective whose model computes the same numbers.

        Args:
          config: Content of config.json.
          architecture: Class that the folder was saved from, such as "BertForMaskedLM".

        Raises:
          InputError: A field has a value with which our numbers would differ, or is missing.
        """

    @abstractmethod
    def rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of parameters, which both directions use.

        Args:
          objective: The objective.
          architecture: Class that the folder was saved from, or that it is written for.
        """

    @abstractmethod
    def config(
        self, objective: Any, spec: TextSpec | ImageSpec, architecture: str
    ) -> dict[str, Any]:
        """Returns the config.json with which transformers computes the same numbers.

        Args:
          objective: The objective of a run.
          spec: Description of what its network reads.
          architecture: Class that the folder is written for.

        Raises:
          InputError: No class of this family computes what the network of the objective does.
        """

    @abstractmethod
    def architecture(self, objective: Any) -> str:
        """Returns the class that a run with this objective goes out as.

        Args:
          objective: The objective of a run.

        Raises:
          InputError: No class of this family computes what the network of the objective does.
        """

    def for_tokenizer(self, objective: Any, tokenizer: Tokenizer | None) -> Any:
        """Returns an objective with what a tokenizer says and config.json does not; by default as it is.

        Args:
          objective: What `objective` has returned.
          tokenizer: Tokenizer of the folder, or None.
        """
        return objective

    def ignored(self) -> Sequence[str]:
        """Returns regular expressions of names of tensors that are no parameters."""
        return ()

    def state_rules(self, objective: Any, architecture: str) -> Sequence[Rule]:
        """Returns the table of what `objective` carries, such as running statistics; by default none.

        Args:
          objective: The objective.
          architecture: Class of the folder.
        """
        return ()

    def constants(
        self, objective: Any, spec: TextSpec | ImageSpec, architecture: str
    ) -> Mapping[str, np.ndarray]:
        """Returns tensors that files of the class hold and that are no parameters here; by default none.

        They are written where an import has not brought its own. Those of an import must hold the same
        numbers, or there is none; whole numbers, which only count, may differ.

        Args:
          objective: The objective.
          spec: Description of what the network reads.
          architecture: Class of the folder.
        """
        return {}

    def preprocessor(self, objective: Any, spec: TextSpec | ImageSpec) -> Mapping[str, Any] | None:
        """Returns the content of preprocessor_config.json; by default None, there is no such file.

        Args:
          objective: The objective.
          spec: Description of what the network reads.
        """
        return None

    def spec(
        self, config: Mapping[str, Any], objective: Any, tokenizer: Tokenizer | None
    ) -> TextSpec | ImageSpec:
        """Returns the description of what the network reads, by default of texts.

        Args:
          config: Content of config.json.
          objective: What `objective` has returned.
          tokenizer: Tokenizer of the folder, or None.
        """
        return text_spec(config, tokenizer)


def family_of(config: Mapping[str, Any]) -> Family:
    """Returns the family that the content of a `config.json` names as its `model_type`.

    Raises:
      InputError: It names none, or one that is not known.
    """
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        raise InputError(
            f"config.json has the model_type {short(name)}; these can be imported: {', '.join(FAMILIES)}"
        )
    module = f"jaxssl.interop.huggingface.families.{FAMILIES[name]}"
    try:
        family: Family = importlib.import_module(module).FAMILY
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise InputError(f"folders of {name} cannot be imported yet") from error
    return family
