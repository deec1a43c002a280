"""Reads a Hugging Face folder: what `hf:FOLDER` means everywhere.

    found = read_folder("bert-base-uncased")
    found.objective      # MaskedLM(encoder=TransformerConfig(depth=12, …))
    found.model          # its model with the folder's parameters
    found.missing        # tensors that the folder lacks; their parameters are initial ones
    found.unused         # tensors that no parameter of ours is read from, such as a pooler; kept for writing

Old names and prefixes of tensors are mapped here to those of the table of a family.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxssl.data.images import ImageSpec
from jaxssl.data.rows import TextSpec
from jaxssl.data.stores.json_files import read_json
from jaxssl.data.stores.json_types import short
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.family import Family, family_of
from jaxssl.interop.huggingface.image_settings import with_image_settings
from jaxssl.interop.huggingface.rules import names_of, read_parameters
from jaxssl.interop.huggingface.tensor_files import TensorFiles, check_links, open_tensors
from jaxssl.sharding.layout import path_of

HF = "hf:"  # what an address of a Hugging Face folder begins with
CONFIG = "config.json"
# Files of which a folder with a tokenizer has one at least
TOKENIZERS = (
    *("tokenizer.json", "vocab.txt", "vocab.json"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
)
# Prefixes of the network below a head; files have or lack them, depending on the class that has written them
PREFIXES = (
    "bert.",
    "roberta.",
    "roberta_prelayernorm.",
    "distilbert.",
    "electra.",
    "model.",
    "transformer.",
    "vit.",
    "resnet.",
)
WRAPPERS = ("_orig_mod.", "module.")  # left by torch.compile and by data parallelism
MOST_RANDOM = 2**26  # parameters that a folder may lack beyond as many as it holds
DTYPES = {"float32", "float16", "bfloat16"}
CONSTANT = (
    1e-2  # largest difference of a number that is computed here; half precision rounds by 4e-3
)


@dataclass(frozen=True)
class Imported:
    """What a folder holds."""

    objective: Any
    """Objective whose model computes the same numbers."""
    model: Any
    """Its model, float32, with the parameters of the folder."""
    carried: Any
    """What the objective carries beside parameters; `()` for most."""
    tokenizer: Tokenizer | None
    """Tokenizer of the folder; None where it has none."""
    spec: TextSpec | ImageSpec
    """Description of what the network reads."""
    architecture: str
    """Class that the folder was saved from, such as "BertForMaskedLM"."""
    config: dict[str, Any]
    """Content of config.json."""
    dtype: str
    """Type of the parameters in the folder: float32, float16 or bfloat16."""
    missing: tuple[str, ...]
    """Tensors that the folder lacks, and paths of parameters that it has none for; these are initial ones."""
    unused: TensorFiles
    """Tensors that no parameter was read from, by their names in the folder."""


def is_hugging_face(name: str | Path) -> bool:
    """Returns whether `name` is the address of a Hugging Face folder, `hf:FOLDER`."""
    return str(name).startswith(HF)


def read_folder(
    path: str | Path, *, sharding: Any = None, family: Family | None = None
) -> Imported:
    """Reads a Hugging Face folder, parameter by parameter, into (sharded) arrays.

    Args:
      path: The folder, with or without `hf:` in front.
      sharding: Sharding of every array, or a function from the model's shapes to a pytree of shardings; None
        puts all arrays on the first device of this host.
      family: What reads the folder; None takes the one that its config.json names.

    Raises:
      InputError: The folder or a file of it is missing, damaged or in a format that can run code, its family
        is not known, or its network computes something that ours does not.
    """
    folder = Path(str(path).removeprefix(HF))
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder; download it first, and pass the path of the folder"
        )
    check_links(folder)
    config = read_config(folder)
    family = family_of(config) if family is None else family
    architecture = architecture_of(config, family)
    settings = with_image_settings(config, folder)
    objective = family.objective(settings, architecture)
    files = open_tensors(folder)
    tokenizer = read_tokenizer(folder)
    objective = family.for_tokenizer(objective, tokenizer)
    spec = family.spec(settings, objective, tokenizer)
    template = jax.eval_shape(lambda key: objective.init(key, spec), jax.random.key(0))
    state = jax.eval_shape(objective.init_state, template)
    rules, state_rules = (
        family.rules(objective, architecture),
        family.state_rules(objective, architecture),
    )
    wanted = names_of(rules, template) | names_of(state_rules, state)
    names = canonical_names(files.names, wanted)
    known = files.renamed(names)
    own = sharding(template) if callable(sharding) else sharding
    found, missing = read_parameters(rules, known, template, sharding=own)
    _check_share(folder, template, found)
    model = _completed(template, found, lambda key: objective.init(key, spec), own)
    carried, lacking = _carried(objective, model, state_rules, state, known)
    check_constants(family.constants(objective, spec, architecture), files)
    ignored = [re.compile(pattern) for pattern in family.ignored()]
    read = {*names.values(), *_tied_copies(files, wanted, names)}
    rest = [
        name
        for name in files.names
        if name not in read and not any(one.fullmatch(name) for one in ignored)
    ]
    return Imported(
        objective,
        model,
        carried,
        tokenizer,
        spec,
        architecture,
        config,
        _dtype(config, known),
        (*missing, *lacking),
        files.only(rest),
    )


def read_objective(path: str | Path) -> Any:
    """Returns the objective that a Hugging Face folder stands for; nothing but its config.json is read.

    Args:
      path: The folder, with or without `hf:` in front.

    Raises:
      InputError: The folder or its config.json is missing, or its network computes something that ours does
        not.
    """
    folder = Path(str(path).removeprefix(HF))
    config = read_config(folder)
    family = family_of(config)
    return family.objective(config, architecture_of(config, family))


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the content of the config.json of a folder.

    Raises:
      InputError: It is missing, or is no JSON object.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no Hugging Face folder: it has no {CONFIG}")
    config: dict[str, Any] = read_json(folder / CONFIG, dict[str, Any])
    return config


def architecture_of(config: Mapping[str, Any], family: Family) -> str:
    """Returns the class that a folder was saved from.

    Args:
      config: Content of config.json.
      family: Family of the folder.

    Raises:
      InputError: config.json names none or several, and the family has no base class.
    """
    listed = config.get("architectures") or [family.base]
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], str):
        raise InputError(
            f"config.json has architectures={short(listed)}; it must be a list of one name"
        )
    if not listed[0]:
        raise InputError(
            "config.json names no architectures; add the class that the folder was saved from, such as "
            '"architectures": ["BertForMaskedLM"]'
        )
    return str(listed[0])


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """Returns the tokenizer of a folder, or None if it has no file of one.

    Raises:
      InputError: A file of it cannot be read.
    """
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return None
    return load_tokenizer(folder)


def check_constants(constants: Mapping[str, np.ndarray], files: TensorFiles) -> None:
    """Checks that a folder holds the numbers that are computed here, such as positions, where it holds any.

    Args:
      constants: What is computed, by name.
      files: The tensors of the folder.

    Raises:
      InputError: A tensor has other numbers. Those that count, which are whole, may differ.
    """
    for name, own in canonical_names(files.names, dict.fromkeys(constants, ())).items():
        wanted, found = constants[name], files.view(own)
        if wanted.dtype.kind != "f":
            continue
        same = found.shape == wanted.shape
        if not same or float(np.abs(found.astype(np.float32) - wanted).max(initial=0)) > CONSTANT:
            raise InputError(
                f"{files.folder}: the tensor {own} {list(found.shape)} is not the one that is computed "
                f"here, {list(wanted.shape)}; an import would change numbers, so there is none"
            )


def canonical_names(names: Iterable[str], wanted: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Finds the tensors of a table under the names that a file gives them.

    A name may be an old one (`gamma` and `beta` of norms), may have the prefix of the network where the table
    has none or lack the one that the table has, and may be one of the names of a tied tensor.

    Args:
      names: Names of the tensors of the files.
      wanted: Names of the table, each with its other names.

    Returns:
      Name of the table -> name in the file, for those that were found.
    """
    held: dict[str, str] = {}
    for name in names:
        held.setdefault(_modern(name), name)
    found = {}
    for name, aliases in wanted.items():
        for one in (name, *aliases):
            spelling = next((s for s in _spellings(one) if s in held), None)
            if spelling is not None:
                found[name] = held[spelling]
                break
    return found


def _modern(name: str) -> str:
    """The present name of a tensor."""
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))


def _spellings(name: str) -> list[str]:
    """The names that a file may have for `name`: itself, without its prefix, and with one."""
    bare = [name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)]
    return [name, *bare, *(prefix + name for prefix in PREFIXES)]


def _tied_copies(
    files: TensorFiles, wanted: Mapping[str, tuple[str, ...]], names: Mapping[str, str]
) -> Iterator[str]:
    """Yields the tensors of the files that are the same as the one that is read under another name."""
    for name, aliases in wanted.items():
        others = canonical_names(files.names, dict.fromkeys(aliases, ())).values()
        for other in others:
            first, second = files.view(names[name]), files.view(other)
            if first.shape == second.shape and np.array_equal(first, second):
                yield other


def _check_share(folder: Path, template: Any, found: Mapping[str, Any]) -> None:
    """Raises InputError where most of a large network would be random: a head may be, a network may not."""
    every = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(template))
    known = sum(math.prod(array.shape) for array in found.values())
    if every - known > known + MOST_RANDOM:
        raise InputError(
            f"{folder} holds {known:,} of the {every:,} parameters that its config.json describes; download "
            "it again, or take both from the same folder"
        )


def _completed(template: Any, found: dict[str, jax.Array], make: Any, sharding: Any) -> Any:
    """The model with the arrays that were found, and initial ones where there are none."""
    leaves, form = jax.tree_util.tree_flatten_with_path(template)
    paths = [path_of(keys) for keys, _ in leaves]
    lacking = [path for path in paths if path not in found]
    if lacking:
        if sharding is None:
            sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        if not isinstance(sharding, jax.sharding.Sharding):
            own = dict(zip(paths, jax.tree.leaves(sharding), strict=True))
            sharding = {path: own[path] for path in lacking}

        def initial(key: jax.Array) -> dict[str, jax.Array]:
            made = jax.tree_util.tree_leaves_with_path(make(key))
            return {path_of(keys): leaf for keys, leaf in made if path_of(keys) in lacking}

        found = found | jax.jit(initial, out_shardings=sharding)(jax.random.key(0))
    return jax.tree.unflatten(form, [found[path] for path in paths])


def _carried(
    objective: Any, model: Any, rules: Any, state: Any, files: TensorFiles
) -> tuple[Any, list[str]]:
    """What the objective carries, with what the folder says of it, and the tensors that are missing."""
    carried = objective.init_state(model)
    if not rules:
        return carried, []
    found, missing = read_parameters(rules, files, state)
    leaves, form = jax.tree_util.tree_flatten_with_path(carried)
    return jax.tree.unflatten(form, [found.get(path_of(keys), leaf) for keys, leaf in leaves]), [
        name for name in missing if name in names_of(rules, state)
    ]


def _dtype(config: Mapping[str, Any], files: TensorFiles) -> str:
    """The type of the parameters: that of most numbers of the files, else that of config.json."""
    sizes: dict[str, int] = {}
    for stored in files.tensors.values():
        name = stored.dtype.name
        sizes[name] = sizes.get(name, 0) + int(np.prod(stored.shape))
    said = config.get("dtype", config.get("torch_dtype"))
    most = max(sizes, key=lambda name: sizes[name], default=said if said in DTYPES else "float32")
    return str(most)
