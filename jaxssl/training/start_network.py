"""The network of a run that begins with what another run has learned: it is that of the other run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxssl.data.stores.json_files import read_json
from jaxssl.data.stores.store import is_url
from jaxssl.errors import InputError
from jaxssl.interop.huggingface.folder import is_hugging_face, read_objective
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.models.vision_transformer import VisionTransformerConfig
from jaxssl.runs.description import rebuild
from jaxssl.runs.stored_runs import opened

CONFIG = "config.json"
NETWORKS = (TransformerConfig, ResNetConfig, VisionTransformerConfig)
# Fields of objectives with the sizes of parameters outside of their networks
HEADS = (
    *("projector", "predictor", "prototypes", "norm", "hidden", "width"),
    *("decoder_width", "doublings", "code", "bottleneck", "generator_size"),
    *("projects_images", "text_bias"),
)
# What a network is trained and computed with, which is no property of its parameters
KEPT = (
    "dropout",
    "attention_dropout",
    "attention",
    "remat",
    "unroll",
    "sequence_parallel",
    "compute_dtype",
)


def with_start_network(config: Any, flags: Sequence[str]) -> Any:
    """Returns a configuration whose objective has the networks of the run that it starts from.

    A network is taken over where a field of both objectives has the same name and kind, and the sizes of
    heads where the objectives are of the same class. Dropout and how a network is computed stay as they are
    in the recipe.

    Args:
      config: A `Pretraining` as its recipe says.
      flags: Words of the command line; `--start RUN` and `--run RUN` among them count, not those of the
        recipe. A run that has begun already has its own network.

    Raises:
      InputError: There is no such run, or its configuration cannot be read.
    """
    run = value_of("--start", flags) or config.start
    if not run:
        return config
    own_run = value_of("--run", flags) or config.run
    if not is_url(own_run) and (Path(own_run) / CONFIG).is_file():
        run = own_run  # goes on, perhaps without the run that it has started from
    learned = _objective_of(run)
    changed = {}
    for field in dataclasses.fields(config.objective):
        own, theirs = getattr(config.objective, field.name), getattr(learned, field.name, None)
        if isinstance(own, NETWORKS) and type(own) is type(theirs):
            changed[field.name] = merged(own, theirs)
        elif field.name in HEADS and type(learned) is type(config.objective):
            changed[field.name] = theirs
    objective = dataclasses.replace(config.objective, **changed)
    return dataclasses.replace(config, objective=objective)


def value_of(name: str, flags: Sequence[str]) -> str:
    """Returns the value of the flag `name` among the words `flags`; "" without it."""
    for number, flag in enumerate(flags):
        if flag.startswith(f"{name}="):
            return flag.partition("=")[2]
        if flag == name and number + 1 < len(flags):
            return flags[number + 1]
    return ""


def merged(own: Any, theirs: Any) -> Any:
    """Returns the network `theirs` with what `own` is trained and computed with."""
    changes = {}
    for field in dataclasses.fields(own):
        value = getattr(own, field.name)
        if field.name in KEPT:
            changes[field.name] = value
        elif isinstance(value, NETWORKS):
            changes[field.name] = merged(value, getattr(theirs, field.name))
    return dataclasses.replace(theirs, **changes)


def _objective_of(run: str) -> Any:
    if is_hugging_face(run):
        return read_objective(run)
    with opened(run) as (folder, _):
        if not (folder / CONFIG).is_file():
            raise InputError(f"start={run} is no run: it has no config.json")
        content = read_json(folder / CONFIG)
    try:
        return rebuild(content["config"]["objective"])
    except (KeyError, TypeError) as error:
        raise InputError(f"start={run}: its config.json describes no objective") from error
