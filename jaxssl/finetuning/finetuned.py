"""Loads a finetuned model, ready to label texts.

    model = load_finetuned("runs/finetune_text/pretrained")
    model.predict(["a gripping film", "two hours that i want back"])        # ["1", "0"]

The folder of a finetuning is complete: it does not need the folder of the pretraining any more.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxssl.data.labelled.example_batches import (
    ExampleBatches,
    LabelledSpec,
    batch_for,
    encode,
    truncate,
)
from jaxssl.data.stores.json_files import read_json
from jaxssl.data.tokenizers.given_texts import given_texts
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError
from jaxssl.finetuning.results import DESCRIPTION, Description, read_result
from jaxssl.finetuning.setup import Finetuning, make_predictor
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.runs.checkpoint import Checkpoints
from jaxssl.runs.description import rebuild
from jaxssl.runs.stored_runs import opened
from jaxssl.sharding.mesh import Mesh
from jaxssl.tasks.scores import LOWER_IS_BETTER


@dataclass(frozen=True)
class Finetuned:
    """A finetuned classifier with its tokenizer and the names of its classes."""

    config: Finetuning
    """Configuration of the finetuning."""
    network: TransformerConfig
    """Configuration of the network below the classifier."""
    tokenizer: Tokenizer
    """Tokenizer of the texts."""
    labels: tuple[str, ...]
    """Names of the classes, by their number."""
    lengths: tuple[int, ...]
    """Numbers of tokens that batches are padded to; the last is the longest text that is read whole."""
    seed: int
    """Seed of the run that the parameters are from."""
    step: int
    """Step of the checkpoint that the parameters are from."""
    model: Any
    """The network with its head, a pytree."""

    def log_probabilities(
        self, texts: Sequence[str], seconds: Sequence[str] | None = None, *, batch: int = 64
    ) -> Float[np.ndarray, "texts classes"]:
        """Computes the log probability of every class for each text, or each pair of texts.

        Args:
          texts: The texts; those that are too long are truncated.
          seconds: The second text of each pair, for a model that was finetuned on pairs.
          batch: Number of texts that are computed at once.

        Returns:
          Natural logarithms of the probabilities, `[texts, classes]`, in the order of `labels`.

        Raises:
          InputError: `texts` is a single string, or second texts are given to a model for single texts, or
            the reverse.
        """
        texts = given_texts(texts)
        seconds = None if seconds is None else given_texts(seconds, "seconds")
        is_pair = self.config.data.second is not None
        if is_pair != (seconds is not None):
            wants = "pairs of texts" if is_pair else "single texts"
            raise InputError(f"this model was finetuned on {wants}; pass it {wants}")
        if seconds is not None and len(seconds) != len(texts):
            raise InputError(f"{len(texts)} texts and {len(seconds)} second texts make no pairs")
        if not len(texts):
            return np.zeros((0, len(self.labels)))
        unlabelled = np.zeros(len(texts), np.int32)
        whole = encode(self.tokenizer, texts, seconds, unlabelled)
        examples, _ = truncate(whole, self.lengths[-1])
        spec = LabelledSpec.of(
            self.tokenizer,
            batch=batch_for(len(texts), batch),
            lengths=self.lengths,
            classes=len(self.labels),
        )
        return self._predictor(self.model, ExampleBatches(examples, spec, shuffle=False))

    def predict(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> list[str]:
        """Returns the most probable label of each of `texts`, or of its pair with one of `seconds`."""
        best = self.log_probabilities(texts, seconds).argmax(axis=1)
        return [self.labels[i] for i in best]

    @cached_property
    def _predictor(self) -> Callable[[Any, ExampleBatches], Float[np.ndarray, "texts classes"]]:
        return make_predictor(self.config, Mesh().make(jax.local_devices()[:1]))


def load_finetuned(folder: str | Path, seed: int | None = None) -> Finetuned:
    """Loads the best checkpoint of one seed of a finetuning.

    Args:
      folder: Folder of a finetuning, `runs/NAME/pretrained` or `runs/NAME/scratch`.
      seed: Seed of the run; None takes the one with the best score on dev.

    Raises:
      InputError: The folder holds no finetuning, or no such seed is finished.
    """
    with opened(folder) as (here, bring):
        return _load(str(folder), here, bring, seed)


def _load(name: str, folder: Path, bring: Callable[[str], None], seed: int | None) -> Finetuned:
    if not (folder / DESCRIPTION).exists():
        below = [
            part for part in ("pretrained", "scratch") if (folder / part / DESCRIPTION).exists()
        ]
        hint = f"; did you mean {name}/{below[0]}?" if below else ""
        raise InputError(f"{name} is no finetuning: it has no {DESCRIPTION}{hint}")
    record = read_json(folder / DESCRIPTION, Description)
    config = rebuild(record["config"])
    network, labels, lengths = rebuild(record["network"]), record["labels"], record["lengths"]
    check_description(folder, config, network, labels, lengths)
    config = dataclasses.replace(config, run=name.rpartition("/")[0])
    tokenizer = load_tokenizer(folder / "tokenizer")
    seed = _best_seed(folder, config.metric) if seed is None else seed
    seed_folder = folder / f"seed-{seed}"
    if read_result(seed_folder) is None:
        raise InputError(f"seed {seed} of {name} is not finished; run finetune.py to its end")
    spec = LabelledSpec.of(tokenizer, batch=1, lengths=lengths, classes=len(labels))
    template = jax.eval_shape(lambda: config.task.init(jax.random.key(0), network, spec))
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    bring(f"{seed_folder.name}/checkpoints")
    with Checkpoints(seed_folder, read_only=True) as checkpoints:
        step, model = checkpoints.restore_best_model(template, device)
    return Finetuned(config, network, tokenizer, labels, lengths, seed, step, model)


def check_description(
    folder: Path, config: Any, network: Any, labels: tuple[str, ...], lengths: tuple[int, ...]
) -> None:
    """Checks what the description of a finetuning says.

    Args:
      folder: Folder of the finetuning, for the error message.
      config: Its configuration.
      network: Configuration of its network.
      labels: Names of the classes.
      lengths: Lengths in tokens that batches are padded to.

    Raises:
      InputError: A configuration is of another class, a label occurs twice, or the lengths are not ascending
        or exceed what the network reads.
    """
    where = folder / DESCRIPTION
    for name, value, kind in (
        ("config", config, Finetuning),
        ("network", network, TransformerConfig),
    ):
        if not isinstance(value, kind):
            raise InputError(
                f"{where}: {name} is a {type(value).__name__}, expected a {kind.__name__}"
            )
    if len(set(labels)) < len(labels):
        raise InputError(f"{where}: labels {labels} must differ")
    if list(lengths) != sorted(set(lengths)) or lengths[-1] > network.max_length:
        raise InputError(
            f"{where}: lengths {lengths} must rise, to at most the {network.max_length} tokens of the network"
        )


def _best_seed(folder: Path, metric: str) -> int:
    """Returns the finished seed with the best score on dev; of equal ones, the smallest."""
    best: tuple[float, int] | None = None
    for path in sorted(folder.glob("seed-*")):
        result = read_result(path)
        if result is None:
            continue
        if metric not in result["dev"]:
            raise InputError(
                f"{path / 'result.json'}: the field 'dev.{metric}' is missing; remove the file and run "
                "finetune.py again"
            )
        value = result["dev"][metric]
        score = -math.inf if value is None else -value if metric in LOWER_IS_BETTER else value
        best = max(best or (-math.inf, -result["seed"]), (score, -result["seed"]))
    if best is None:
        raise InputError(f"no seed of {folder} is finished; run finetune.py to its end")
    return -best[1]
