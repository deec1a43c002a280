"""Recipes made small enough for a test: the real loop, over rows of a tiny corpus."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxssl.data.loader import Rows
from jaxssl.data.prepare import Prepare, prepare
from jaxssl.models.transformer import Transformer
from jaxssl.training.config import Pretraining, load_config
from jaxssl.training.mesh import Mesh
from tests.data.tiny_corpus import Words, write_vocabulary

LENGTH = 32


@dataclass(frozen=True)
class OneDevice:
    """Takes the place of a `Mesh`: one of the simulated devices compiles faster than eight."""

    def make(self) -> jax.sharding.Mesh:
        return Mesh().make(jax.devices()[:1])


def prepare_words(folder: Path, **vocabulary: int) -> str:
    """A prepared set of random words, of 32 tokens a row."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = write_vocabulary(folder, **vocabulary)
    config = Prepare(Words(count=80), length=LENGTH, tokenizer=tokenizer, valid=0.2, workers=1)
    prepare(config, folder / "rows")
    return str(folder / "rows")


def shrink_transformer(config: Transformer) -> Transformer:
    kv_heads = None if config.kv_heads is None else 1
    return dataclasses.replace(
        config,
        depth=2,
        width=32,
        heads=2,
        kv_heads=kv_heads,
        mlp=64,
        max_length=LENGTH,
        window=None if config.window is None else 8,
        compute_dtype="float32",
    )


def shrink_objective(objective: Any) -> Any:
    changes = {
        entry.name: shrink_transformer(getattr(objective, entry.name))
        for entry in dataclasses.fields(objective)
        if isinstance(getattr(objective, entry.name), Transformer)
    }
    return dataclasses.replace(objective, **changes)


def shrink(path: str | Path, rows: str, run: Path, **changes: Any) -> Pretraining:
    """The recipe of a file with a tiny network, batch and number of steps."""
    config = load_config(path, Pretraining)
    small: dict[str, Any] = {
        "data": Rows(rows, batch=16),
        "objective": shrink_objective(config.objective),
        "mesh": OneDevice(),
        "microbatches": min(config.microbatches, 2),
        "start": "",
        "steps": 2,
        "run": str(run),
        "report_every": 1,
        "evaluate_every": 2,
        "evaluate_batches": 2,
        "save_every": 2,
    }
    return dataclasses.replace(config, **{**small, **changes})
