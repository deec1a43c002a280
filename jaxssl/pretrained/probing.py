"""Measures how well labels can be predicted from the features of a pretrained run.

The network is not trained further. The features of a random network and the pixels themselves are measured
as well, for comparison. The file `probe.json` in the run's folder holds the step, the data, and the scores of
each kind of features.
"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxssl.data.images import ImageReader, Images
from jaxssl.data.progress import TextProgress
from jaxssl.data.stores.json_files import write_json
from jaxssl.errors import InputError, check_at_least
from jaxssl.pretrained.images import (
    ImageEmbedder,
    embed_split,
    load_image_embedder,
    measure_statistics,
    open_subset,
    random_encoder,
)
from jaxssl.tasks.probe import accuracy, probe_linear, probe_neighbours

RESULT = "probe.json"  # file in the run's folder
NEIGHBOURS = (20, 200)  # numbers of neighbours that vote; at most as many as there are images
TOP = (1, 5)
Scores = dict[str, dict[str, float]]  # classifier -> "top1" and "top5" -> accuracy


@dataclass(frozen=True)
class ProbeConfig:
    """Which run is probed, on which images."""

    run: str
    """Folder of a run that was pretrained on images, or its URL."""
    data: str = ""
    """Folder or URL of a prepared set with labels; empty takes the images of the run."""
    which: Literal["best", "latest"] = "latest"
    """Checkpoint: the one with the best evaluation, or the latest one."""
    images: int = 100_000
    """Largest number of images of the training split, on which the classifiers are fitted."""
    held_out: int = 20_000
    """Largest number of images of the held-out split, on which they are measured."""
    batch: int = 256
    """Number of images whose features are computed at a time."""
    seed: int = 0
    """Seed of the random network, and of the split that chooses the strength of the regularisation."""
    baselines: bool = True
    """Whether a random network and the raw pixels are measured as well."""

    def __post_init__(self) -> None:
        check_at_least(self, 1, "images", "held_out", "batch")
        if not 0 <= self.seed < 2**31:
            raise InputError(f"seed={self.seed} must be from 0 to {2**31 - 1:,}")


def probe_run(config: ProbeConfig, progress: TextProgress) -> dict[str, Any]:
    """Fits and measures the classifiers on every kind of features.

    The result is also written to `probe.json` in the run's folder, unless the run is on an object store.

    Args:
      config: The run and the images.
      progress: Where the progress is shown.

    Returns:
      "folder", "step", "data" and "classes" (their number), and for each kind of features ("run" and, with
      baselines, "random network" and "raw pixels") what `probe_features` returns.

    Raises:
      InputError: There is no run or no encoder of images, or the images have no labels or another shape.
    """
    embed, pretrained = load_image_embedder(config.run, config.which)
    data = pretrained.config.data
    if config.data:
        data = Images(config.data, batch=config.batch)
    data = dataclasses.replace(data, batch=config.batch)
    counts = {"train": config.images, "valid": config.held_out}
    readers = [open_subset(data, split, images) for split, images in counts.items()]
    for reader in readers:
        check_fits(reader, pretrained.spec)
    rows = max(reader.rows for reader in readers)
    embed = dataclasses.replace(embed, batch=min(config.batch, rows))
    kinds: dict[str, ImageEmbedder | None] = {"run": embed}
    if config.baselines:
        network = random_encoder(pretrained.objective, pretrained.spec, config.seed)
        statistics = measure_statistics(pretrained.objective, network, readers[0])
        random = embed.with_parameters(network, statistics)
        kinds |= {"random network": random, "raw pixels": None}
    result: dict[str, Any] = {
        "folder": config.run,
        "step": pretrained.step,
        "data": data.path,
        "classes": readers[0].spec.classes,
    }
    for name, kind in kinds.items():
        result[name] = probe_features(config, kind, readers, progress, name)
        _write(config.run, result)  # what is known now survives whatever happens to the next kind
    return result


def _write(run: str, result: dict[str, Any]) -> None:
    """Writes a result to the folder of a run, or warns where that is forbidden; the table is shown anyway."""
    folder = Path(run)
    if not folder.is_dir():  # it is on an object store
        return
    try:
        write_json(folder / RESULT, result)
    except OSError as error:
        print(
            f"warning: {folder / RESULT} cannot be written ({error.strerror or error})",
            file=sys.stderr,
        )


def check_fits(reader: ImageReader, spec: Any) -> None:
    """Checks that the images of a set fit a run.

    Args:
      reader: The set.
      spec: Description of the images that the run was trained on.

    Raises:
      InputError: The images have no labels, or another height, width or number of channels.
    """
    if not reader.spec.labels:
        raise InputError(
            "the images have no labels to predict; set data to images that have labels"
        )
    for name in ("height", "width", "channels"):
        if (found := getattr(reader.spec, name)) != (wanted := getattr(spec, name)):
            raise InputError(
                f"the images have {name} {found} and those of the run {wanted}; prepare them alike"
            )


def probe_features(
    config: ProbeConfig,
    embed: ImageEmbedder | None,
    readers: list[ImageReader],
    progress: TextProgress,
    name: str,
) -> dict[str, Any]:
    """Fits classifiers on one kind of features of the training split, and measures them on held-out images.

    Args:
      config: Numbers of images, and the seed.
      embed: Function that computes features; None takes the pixels themselves.
      readers: The training split and the held-out split.
      progress: Where the progress is shown.
      name: Name of the features in the progress.

    Returns:
      Sizes ("features", "images", "held_out"), the "strength" of the linear classifier, and the accuracies
      "top1" and "top5" of each classifier: "linear", "20 neighbours" and "200 neighbours" (or of all images,
      where there are fewer), and "most frequent", which always predicts the most frequent classes of the
      held-out images.
    """
    classes = readers[0].spec.classes
    known, labels = embed_split(embed, readers[0], config.images, progress, f"{name}, training")
    features, truth = embed_split(embed, readers[1], config.held_out, progress, f"{name}, held out")
    linear = probe_linear(known, labels, classes, seed=config.seed)
    counts = sorted({min(k, len(known)) for k in NEIGHBOURS})
    votes = probe_neighbours(known, labels, features, classes, counts=counts)
    scores = {"linear": linear.scores(features)}
    scores |= {f"{count} neighbours": votes[count] for count in counts}
    found: Scores = {
        name: {f"top{top}": accuracy(own, truth, top) for top in TOP}
        for name, own in scores.items()
    }
    shares = np.sort(np.bincount(truth, minlength=classes))[::-1] / len(truth)
    found["most frequent"] = {f"top{top}": float(shares[:top].sum()) for top in TOP}
    sizes = {"features": known.shape[1], "images": len(known), "held_out": len(features)}
    return {**sizes, "strength": linear.strength, **found}


def show_scores(result: dict[str, Any]) -> str:
    """Formats the `result` of `probe_run` as a table, in percent."""
    lines = [f"{result['folder']}, step {result['step']:,}, on {result['data']} (top-1 / top-5, %)"]
    columns = [name for name in result["run"] if name == "linear" or name.endswith("neighbours")]
    lines.append(f"{'':<16}{'features':>9}" + "".join(f"{column:>18}" for column in columns))
    for name in ("run", "random network", "raw pixels"):
        if name in result:
            own = result[name]
            shown = (
                f"{100 * own[column]['top1']:.1f} / {100 * own[column]['top5']:.1f}"
                for column in columns
            )
            lines.append(f"{name:<16}{own['features']:>9,}" + "".join(f"{s:>18}" for s in shown))
    own = result["run"]
    frequent = own["most frequent"]
    lines.append(
        f"fitted on {own['images']:,} images, measured on {own['held_out']:,}; always the most frequent "
        f"class: {100 * frequent['top1']:.1f} / {100 * frequent['top5']:.1f}"
    )
    return "\n".join(lines)
