"""How much the features of a run tell of labels, beside those of a random network and the pixels themselves.

probe.json in the run's folder: the step, the data, and the scores of each kind of features.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxssl.data.images import ImageReader, Images
from jaxssl.data.progress import TextProgress
from jaxssl.data.stores.json_files import write_json
from jaxssl.errors import InputError
from jaxssl.pretrained.images import (
    ImageEmbedder,
    embed_split,
    load_image_embedder,
    open_some,
    random_encoder,
)
from jaxssl.tasks.probe import accuracy, probe_linear, probe_neighbours

RESULT = "probe.json"
COLUMNS = ("linear", "20 neighbours", "200 neighbours")
Scores = dict[str, dict[str, float]]  # of each column: top1 and top5


@dataclass(frozen=True)
class Judging:
    """What a run is judged on."""

    run: str
    data: str = ""  # a prepared set with labels; that of the run if empty
    which: Literal["best", "latest"] = "latest"  # checkpoint
    images: int = 100_000  # of the training split, at most …
    held_out: int = 20_000  # … and of the held-out one
    batch: int = 256
    seed: int = 0  # of the random network, and of the part that the strength is chosen on
    baselines: bool = True  # whether a random network and raw pixels are judged too

    def __post_init__(self) -> None:
        for name in ("images", "held_out", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")


def judge(config: Judging, progress: TextProgress) -> dict[str, Any]:
    """Scores of every kind of features; writes them down beside the run's checkpoints."""
    embed, pretrained = load_image_embedder(config.run, config.which)
    data = pretrained.config.data
    if config.data:
        data = Images(config.data, batch=config.batch)
    data = dataclasses.replace(data, batch=config.batch)
    counts = {"train": config.images, "valid": config.held_out}
    readers = [open_some(data, split, images) for split, images in counts.items()]
    for reader in readers:
        check_fits(reader, pretrained.spec)
    embed = dataclasses.replace(embed, batch=config.batch)
    kinds: dict[str, ImageEmbedder | None] = {"run": embed}
    if config.baselines:
        network = random_encoder(pretrained.objective, pretrained.spec, config.seed)
        kinds |= {"random network": embed.another(network), "raw pixels": None}
    result: dict[str, Any] = {
        "folder": config.run,
        "step": pretrained.step,
        "data": data.path,
        "classes": readers[0].spec.classes,
    }
    for name, kind in kinds.items():
        result[name] = judge_features(config, kind, readers, progress, name)
    path = Path(config.run) / RESULT
    if Path(config.run).is_dir():
        write_json(path, result)
    return result


def check_fits(reader: ImageReader, spec: Any) -> None:
    """Raises InputError where a set has no labels, or images that the network cannot read."""
    if not reader.spec.labels:
        raise InputError("the images have no labels to judge by; pass --data with a set that has")
    for name in ("height", "width", "channels"):
        if (found := getattr(reader.spec, name)) != (wanted := getattr(spec, name)):
            raise InputError(
                f"the images have {name} {found} and those of the run {wanted}; prepare them alike"
            )


def judge_features(
    config: Judging,
    embed: ImageEmbedder | None,
    readers: list[ImageReader],
    progress: TextProgress,
    name: str,
) -> dict[str, Any]:
    """The scores of one kind of features: fitted on the training split, measured on the held-out one."""
    classes = readers[0].spec.classes
    known, labels = embed_split(embed, readers[0], config.images, progress, f"{name}, training")
    features, truth = embed_split(embed, readers[1], config.held_out, progress, f"{name}, held out")
    linear = probe_linear(known, labels, classes, seed=config.seed)
    counts = [min(k, len(known)) for k in (20, 200)]
    votes = probe_neighbours(known, labels, features, classes, counts=counts)
    scores = [linear.scores(features), votes[counts[0]], votes[counts[1]]]
    found: Scores = {
        column: {f"top{top}": accuracy(own, truth, top) for top in (1, 5)}
        for column, own in zip(COLUMNS, scores, strict=True)
    }
    sizes = {"features": known.shape[1], "images": len(known), "held_out": len(features)}
    return {**sizes, "strength": linear.strength, **found}


def show(result: dict[str, Any]) -> str:
    """The scores as a table for a person, in percent."""
    lines = [f"{result['folder']}, step {result['step']:,}, on {result['data']} (top-1 / top-5, %)"]
    lines.append(f"{'':<16}{'features':>9}" + "".join(f"{column:>18}" for column in COLUMNS))
    for name in ("run", "random network", "raw pixels"):
        if name in result:
            own = result[name]
            shown = (
                f"{100 * own[column]['top1']:.1f} / {100 * own[column]['top5']:.1f}"
                for column in COLUMNS
            )
            lines.append(f"{name:<16}{own['features']:>9,}" + "".join(f"{s:>18}" for s in shown))
    own = result["run"]
    chance = 100 / result["classes"]
    lines.append(
        f"fitted on {own['images']:,} images, measured on {own['held_out']:,}; chance {chance:.1f}"
    )
    return "\n".join(lines)
