"""Writes and reads what a finetuning leaves in runs/NAME/pretrained or runs/NAME/scratch.

    finetuning.json           every field, and fingerprints of the examples and the checkpoint
    tokenizer/                tokenizer of the checkpoint; load_finetuned needs no other folder
    seed-N/                   metrics.jsonl, tensorboard/, checkpoints/ (the best and the latest)
    seed-N/predictions.tsv    text, label, predicted, probability of every class; of test, else dev
    seed-N/loss.png           the loss in training and on dev, step by step
    seed-N/result.json        the scores of one seed
    results.json              the scores of all seeds, their means and deviations

The parameters of a seed are a plain nested dict by path, under "model" of its best checkpoint.
"""

import csv
import math
import statistics
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import numpy as np

import jaxssl
from jaxssl.data.labelled.tables import Table
from jaxssl.data.labelled.texts import LabelledData
from jaxssl.data.stores.descriptions import changes
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.stores.json_types import Limits
from jaxssl.errors import InputError
from jaxssl.finetuning.setup import Finetuning
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.pretrained.load import Pretrained
from jaxssl.runs.checkpoint import digest
from jaxssl.runs.description import describe, rebuild

DESCRIPTION = "finetuning.json"
FREE = ("seeds", "report_every", "run")  # what may change when a run goes on
Result = dict[str, Any]


class Description(TypedDict):
    """The content of `finetuning.json`."""

    config: dict[str, Any]
    """Configuration of the finetuning, as `describe` writes it, without its free fields."""
    network: dict[str, Any]
    """Configuration of the network below the classifier."""
    labels: Annotated[tuple[str, ...], Limits(2)]
    """Names of the classes, by their number."""
    lengths: Annotated[tuple[Annotated[int, Limits(4, 1 << 20)], ...], Limits(1)]
    """Lengths in tokens that batches are padded to, in ascending order."""
    examples: str
    """Fingerprint of the labelled examples."""
    checkpoint: str
    """Fingerprint of the checkpoint."""


class SeedResult(TypedDict):
    """The content of `result.json` that is read again; a score that was not finite is None."""

    seed: Annotated[int, Limits(0)]
    """Seed of the run."""
    dev: dict[str, float | None]
    """Scores on dev by name."""
    test: NotRequired[dict[str, float | None]]
    """Scores on test by name, where there is a test."""


def begin_run(
    config: Finetuning, data: LabelledData, network: TransformerConfig, pretrained: Pretrained
) -> None:
    """Writes the description of a finetuning, or checks that its folder holds a part of the same one.

    The tokenizer, the fields of the network and the labels make the folder complete.

    Args:
      config: Configuration of the finetuning.
      data: Labelled examples; their fingerprint and labels are written.
      network: Configuration of the network as it is finetuned.
      pretrained: What the pretraining has left; its tokenizer is saved.

    Raises:
      InputError: An earlier run in the folder differed in more than its seeds.
    """
    described = describe(config)
    for name in FREE:
        described.pop(name)
    fingerprints = {"examples": data.fingerprint, "checkpoint": digest(pretrained.model)}
    record = {
        "version": jaxssl.__version__,
        **fingerprints,
        "config": described,
        "network": describe(network),
        "labels": list(data.names),
        "lengths": list(data.lengths),
    }
    path = config.folder / DESCRIPTION
    if path.exists():
        old = read_json(path, Description)
        # It is rebuilt, so that fields which a later version has added have their defaults.
        old["config"] = {
            name: value
            for name, value in describe(rebuild(old["config"])).items()
            if name not in FREE
        }
        parts = ("config", *fingerprints)
        before, now = ({name: r[name] for name in parts} for r in (dict(old), record))
        if lines := changes(before, now):
            raise InputError(
                f"{config.folder} holds another finetuning ({lines[0].removeprefix('config.')}); "
                "choose another folder as `run`"
            )
        return
    config.folder.mkdir(parents=True, exist_ok=True)
    pretrained.tokenizer.save(config.folder / "tokenizer")
    write_json(path, record)


def write_predictions(
    path: Path, table: Table, names: tuple[str, ...], log_probabilities: np.ndarray
) -> None:
    """Writes one line for each example; a tab or a line break in a text becomes a space.

    Args:
      path: File to write, tab-separated values.
      table: The examples.
      names: Names of the classes, by their number.
      log_probabilities: Natural logarithms of the probabilities, `[examples, classes]`.
    """
    header = ["text"] + (["second"] if table.second is not None else [])
    header += ["label", "predicted", *(f"probability_{name}" for name in names)]
    predicted = log_probabilities.argmax(axis=1)
    probabilities = np.exp(log_probabilities)
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(
            file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n"
        )
        writer.writerow(_flat(name) for name in header)
        for i in range(len(table)):
            texts = [table.first[i]] + ([table.second[i]] if table.second is not None else [])
            labels = [table.labels[i], names[predicted[i]]]
            shares = [f"{p:.6f}" for p in probabilities[i]]
            writer.writerow([*(_flat(text) for text in texts + labels), *shares])


def _flat(text: str) -> str:
    return text.translate({9: " ", 10: " ", 13: " "})


def read_result(folder: Path) -> Result | None:
    """Returns the result in the `folder` of a seed, or None where the seed is not finished.

    Raises InputError if its file is damaged.
    """
    path = folder / "result.json"
    return dict(read_json(path, SeedResult)) if path.exists() else None


def summarise(results: list[Result], metric: str) -> dict[str, Any]:
    """Computes the mean and the sample standard deviation (0 for one seed) of every score.

    Args:
      results: Results of the seeds.
      metric: Name of the score that has decided on the best checkpoints.

    Returns:
      Means and deviations by split and score, beside the results themselves.
    """
    summary: dict[str, Any] = {"metric": metric, "seeds": results, "mean": {}, "deviation": {}}
    for split in ("dev", "test"):
        if split in results[0]:
            values = {
                name: [_number(result[split].get(name)) for result in results]
                for name in results[0][split]
            }
            summary["mean"][split] = {n: statistics.fmean(v) for n, v in values.items()}
            summary["deviation"][split] = {
                n: statistics.stdev(v) if len(v) > 1 else 0.0 for n, v in values.items()
            }
    return summary


def _number(score: float | None) -> float:
    """Returns a score; one that was not finite is None in JSON."""
    return math.nan if score is None else score


def show_scores(
    scores: dict[str, float], positive: str, deviations: dict[str, float] | None = None
) -> str:
    """Formats scores on one line.

    Args:
      scores: Scores by name.
      positive: Label that "f1" is of.
      deviations: Deviation of each score over the seeds; None shows none.
    """
    parts = []
    for name, value in scores.items():
        spread = "" if deviations is None else f" ± {deviations[name]:.4f}"
        parts.append(f"{f'f1 of {positive}' if name == 'f1' else name} {value:.4f}{spread}")
    return "  ".join(parts)


def show_summary(summary: dict[str, Any]) -> str:
    """Formats what `summarise` has made as `summary` in a few lines."""
    count = len(summary["seeds"])
    lines = [f"{count} seed{'s' * (count > 1)}, best by {summary['metric']} on dev:"]
    for split, means in summary["mean"].items():
        deviations = summary["deviation"][split] if count > 1 else None
        lines.append(f"  {split:<5}" + show_scores(means, summary.get("positive", ""), deviations))
    return "\n".join(lines)
