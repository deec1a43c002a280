"""The formats that a run is exported to: each is a function that writes files and says how they are read.

written = FORMATS["numpy"](folder, pretrained)
written.outputs(inputs)                # computed by what was read back from the folder
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.data.images import ImageSpec
from jaxssl.data.stores.json_files import write_json
from jaxssl.errors import InputError
from jaxssl.exporting.functions import functions_of, texts_of
from jaxssl.exporting.proof import Inputs, Results, bound, in_float32, on_host, outputs_of
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.interop.huggingface.folder_writing import (
    FolderExport,
    export_again,
    export_of,
    write_network,
)
from jaxssl.interop.huggingface.tokenizer_files import export_tokenizer
from jaxssl.interop.numpy_archive import read_arrays, write_arrays
from jaxssl.interop.sentence_transformers import write_modules
from jaxssl.interop.stablehlo import check_stablehlo, read_stablehlo, write_stablehlo
from jaxssl.interop.word2vec import read_word2vec, write_word2vec
from jaxssl.models.plain import from_dict, to_dict
from jaxssl.objectives.causal_lm import CausalLM
from jaxssl.pretrained.load import Pretrained
from jaxssl.pretrained.words import table_of
from jaxssl.runs.description import describe

CARRIED = "carried/"  # what the names of arrays begin with that are no parameters
NO_LIMIT = 2**31 - 1  # tokens, for a network that reads rows of any length
WITHOUT_BEGIN = (
    "gpt2",
    "qwen2",
    "qwen3",
)  # families whose texts have no special tokens around them
RUN_CONFIG = "run.json"  # configuration of the run, as its own config.json has it


@dataclass(frozen=True)
class Written:
    """What was written into a folder, and how it is used."""

    library: str
    """Library that loads it, as model cards name it."""
    what: str
    """What the folder holds, in words."""
    loading: str
    """Python that loads the folder, which is named FOLDER in it."""
    outputs: Callable[[Inputs], Results]
    """Reads the folder back and computes the outputs for given inputs."""
    task: str = ""
    """The task of the model, as model cards name it; empty for none."""
    ours: Results = field(default_factory=dict)
    """Outputs of the run beside those of its network, such as vectors of words."""


def write_huggingface(folder: Path, pretrained: Pretrained) -> Written:
    """Writes config.json, safetensors and the tokenizer.

    Args:
      folder: An empty folder.
      pretrained: What is exported.

    Raises:
      InputError: transformers has no class that computes what the network does.
    """
    export = _written_network(folder, pretrained)
    automatic, task = automatic_class(export.architecture)
    lines = [
        f"from transformers import {automatic}, AutoTokenizer",
        "",
        f'model = {automatic}.from_pretrained("FOLDER")',
    ]
    if pretrained.texts is None:
        lines[0] = f"from transformers import {automatic}"
    else:
        lines.append('tokenizer = AutoTokenizer.from_pretrained("FOLDER")')
    return Written(
        library="transformers",
        what=f"a `{export.architecture}` of transformers",
        loading="\n".join(lines),
        outputs=lambda inputs: outputs_of(read_folder(folder), inputs),
        task=task,
    )


def write_sentence_transformers(folder: Path, pretrained: Pretrained) -> Written:
    """Writes a Hugging Face folder that is a `SentenceTransformer`, with the pooling of the objective.

    Args:
      folder: An empty folder.
      pretrained: What is exported.

    Raises:
      InputError: The run has read images, or transformers has no class for its network.
    """
    network = pretrained.text_network
    if pretrained.texts is None or isinstance(pretrained.spec, ImageSpec):
        raise InputError("sentence-transformers embed texts; export this run to huggingface")
    _written_network(folder, pretrained)
    config = network.config
    write_modules(
        folder,
        width=config.width,
        pooling=pretrained.objective.text_pooling,
        max_length=config.max_length,
    )
    return Written(
        library="sentence-transformers",
        what="a `SentenceTransformer`",
        loading="from sentence_transformers import SentenceTransformer\n\n"
        'vectors = SentenceTransformer("FOLDER").encode(["two dogs run", "a cat sleeps"])',
        outputs=lambda inputs: outputs_of(read_folder(folder), inputs),
        task="sentence-similarity",
    )


def write_stablehlo_files(folder: Path, pretrained: Pretrained) -> Written:
    """Writes a file of StableHLO for each function of the run, with the parameters, and the tokenizer.

    Args:
      folder: An empty folder.
      pretrained: What is exported.

    Raises:
      InputError: `flatbuffers` is not installed, there is no function, or the parameters are too large.
    """
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((pretrained.model, pretrained.carried)))
    check_stablehlo(size)
    functions = functions_of(pretrained.objective, pretrained.model, pretrained.spec)
    files = {f.name: "model.stablehlo" for f in functions}
    if len(functions) > 1:
        files = {f.name: f"{f.name}.stablehlo" for f in functions}
    with on_host():
        model, carried = jax.tree.map(jnp.asarray, (in_float32(pretrained), pretrained.carried))
        for function in functions:
            shapes = {name: (one.shape, one.dtype) for name, one in function.inputs.items()}
            closed = partial(bound(function), model, carried)
            write_stablehlo(folder / files[function.name], closed, shapes, function.limits)
    _write_tokenizer(folder, pretrained)
    arguments = ", ".join(f"{name}={name}" for name in functions[0].inputs)
    first = files[functions[0].name]

    def outputs(inputs: Inputs) -> Results:
        with on_host():
            return {
                name: jax.device_get(read_stablehlo(folder / files[name])(**arrays))
                for name, arrays in inputs.items()
            }

    return Written(
        library="jax",
        what=f"StableHLO for cpu, cuda and tpu, with the parameters: {', '.join(files.values())}",
        loading="import jax  # and `pip install flatbuffers`\n\n"
        f'function = jax.export.deserialize(open("FOLDER/{first}", "rb").read())\n'
        f"outputs = function.call({arguments})  # {_in_words(functions)}",
        outputs=outputs,
    )


def write_numpy(folder: Path, pretrained: Pretrained) -> Written:
    """Writes all parameters by name into `parameters.npz`, with the run's configuration and the tokenizer.

    Args:
      folder: An empty folder.
      pretrained: What is exported.
    """
    arrays = _flat(pretrained.model) | {
        CARRIED + path: array for path, array in _flat(pretrained.carried).items()
    }
    write_arrays(folder / "parameters.npz", arrays)
    write_json(folder / RUN_CONFIG, describe(pretrained.config))
    _write_tokenizer(folder, pretrained)

    def outputs(inputs: Inputs) -> Results:
        found = read_arrays(folder / "parameters.npz")
        for name, array in arrays.items():
            if not np.array_equal(found[name], np.asarray(array), equal_nan=True):
                raise RuntimeError(f"the array {name} is another one in {folder}/parameters.npz")
        again = {"objective": pretrained.objective, "spec": pretrained.spec}
        model = _refilled(pretrained.model, found, "")
        carried = _refilled(pretrained.carried, found, CARRIED)
        return outputs_of(SimpleNamespace(**again, model=model, carried=carried), inputs)

    return Written(
        library="jaxssl",
        what="all parameters as numpy arrays, by their paths",
        loading='import numpy as np\n\nparameters = np.load("FOLDER/parameters.npz")\n'
        f'parameters["{next(iter(arrays), "")}"]',
        outputs=outputs,
    )


def write_word_vectors(folder: Path, pretrained: Pretrained) -> Written:
    """Writes the vectors of the vocabulary as text in the format of word2vec.

    Args:
      folder: An empty folder.
      pretrained: What is exported.

    Raises:
      InputError: The run has read no text.
    """
    table = table_of(pretrained)
    file = folder / "vectors.txt"
    write_word2vec(file, table.words, table.vectors)
    return Written(
        library="gensim",
        what=f"{len(table.words):,} word vectors in word2vec's text format",
        loading="from gensim.models import KeyedVectors\n\n"
        'vectors = KeyedVectors.load_word2vec_format("FOLDER/vectors.txt")',
        outputs=lambda inputs: {"words": {"vectors": read_word2vec(file)[1]}},
        ours={"words": {"vectors": table.vectors}},
    )


FORMATS: dict[str, Callable[[Path, Pretrained], Written]] = {
    "huggingface": write_huggingface,
    "sentence-transformers": write_sentence_transformers,
    "stablehlo": write_stablehlo_files,
    "numpy": write_numpy,
    "word2vec": write_word_vectors,
}


def automatic_class(architecture: str) -> tuple[str, str]:
    """Returns the `Auto…` class of transformers that loads an `architecture`, and its task on model cards."""
    for ending, automatic, task in (
        ("ForMaskedLM", "AutoModelForMaskedLM", "fill-mask"),
        ("ForPreTraining", "AutoModelForPreTraining", ""),
        ("ForCausalLM", "AutoModelForCausalLM", "text-generation"),
        ("LMHeadModel", "AutoModelForCausalLM", "text-generation"),
        ("ForConditionalGeneration", "AutoModelForSeq2SeqLM", ""),
        ("ForSequenceClassification", "AutoModelForSequenceClassification", "text-classification"),
        ("ForImageClassification", "AutoModelForImageClassification", "image-classification"),
    ):
        if architecture.endswith(ending):
            return automatic, task
    return "AutoModel", "feature-extraction"


def _written_network(folder: Path, pretrained: Pretrained) -> FolderExport:
    objective, spec, origin = pretrained.objective, pretrained.spec, pretrained.origin
    export = export_of(objective, spec) if origin is None else export_again(origin, objective, spec)
    write_network(folder, export, pretrained.model, pretrained.carried)
    _write_tokenizer(folder, pretrained)
    return export


def _write_tokenizer(folder: Path, pretrained: Pretrained) -> None:
    """Writes the files of the tokenizer, with what the network was trained to read around a text."""
    if pretrained.texts is None:
        return
    objective, spec = pretrained.objective, pretrained.spec
    try:
        functions = functions_of(objective, pretrained.model, spec)
        limits = next(function.limits for function in functions if function.name == "texts")
    except InputError:  # a table of words has no limit
        limits = {}
    types = getattr(getattr(objective, "encoder", None), "segment_types", 0)
    export_tokenizer(
        pretrained.texts,
        folder,
        model_max_length=limits.get("length", NO_LIMIT),
        template=_template(pretrained),
        pairs=types > 1,
        size=texts_of(spec).vocab_size,
    )


def _template(pretrained: Pretrained) -> Literal["begin and end", "begin", "none"]:
    """The special tokens around a text: those of a run of ours, or of the family of an import."""
    origin = pretrained.origin
    if origin is not None and origin.config.get("model_type") in WITHOUT_BEGIN:
        return "none"
    return "begin" if isinstance(pretrained.objective, CausalLM) else "begin and end"


def _flat(tree: Any) -> dict[str, Any]:
    """The arrays of a tree by their paths."""
    rows: dict[str, Any] = {}

    def walk(nested: Any, above: str) -> None:
        for name, value in nested.items():
            if isinstance(value, dict):
                walk(value, f"{above}{name}/")
            else:
                rows[above + name] = value

    walk(to_dict(tree), "")
    return rows


def _refilled(tree: Any, found: dict[str, np.ndarray], prefix: str) -> Any:
    """A tree of the same form with the arrays that were read back."""
    nested: dict[str, Any] = {}
    for path in _flat(tree):
        *folders, name = path.split("/")
        inner = nested
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = found[prefix + path]
    return from_dict(tree, nested)


def _in_words(functions: Any) -> str:
    """Shapes of what the first function reads, such as "tokens int32 [batch, length]"."""
    parts = []
    for name, one in functions[0].inputs.items():
        shape = ", ".join(str(part) for part in one.shape)
        parts.append(f"{name} {one.dtype} [{shape}]")
    limits = "".join(f", {name} <= {limit}" for name, limit in functions[0].limits.items())
    return ", ".join(parts) + limits
