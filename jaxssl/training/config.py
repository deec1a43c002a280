"""A run's configuration, and the one place that reads command lines."""

import argparse
import dataclasses
import difflib
import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tyro

from jaxssl.data.images import ImageReader, Images
from jaxssl.data.rows import RowReader, Rows
from jaxssl.errors import InputError
from jaxssl.objectives.contract import check_objective
from jaxssl.optimizers.recipes import AdamW
from jaxssl.runs.checkpoint import Keep
from jaxssl.runs.hosts import Hosts
from jaxssl.runs.watch import Watch
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.collapse import CollapseAlarm

Config = TypeVar("Config")
Reader = RowReader | ImageReader


@dataclass(frozen=True)
class Pretraining:
    """A pretraining run. `configs/` holds recipes; flags change single fields."""

    data: Rows | Images  # what is read, prepared, and how many rows make a batch
    objective: Any  # what is learned: MaskedLM, CausalLM, …
    optimizer: Any = field(default_factory=AdamW)
    mesh: Mesh = Mesh()
    steps: int = 10_000
    microbatches: int = 1  # cut every batch into so many parts; the gradient is the same
    average: float | None = None  # decay of a moving average of the parameters, e.g. 0.999
    seed: int = 0
    start: str = ""  # run whose parameters this one begins with; random ones when empty
    run: str = ""  # folder of the run; runs/NAME of the config when empty
    hosts: Hosts = Hosts()
    restarts: int = 0  # how often the command is started again where the run dies
    report_every: int = 50  # steps between two lines
    collapse: CollapseAlarm = CollapseAlarm()  # of embeddings: when to warn or to stop
    evaluate_every: int = 500  # steps between two evaluations on held-out rows
    evaluate_batches: int = 50  # at most so many held-out batches
    probe_images: int = (
        0  # labelled images that features are judged on at every evaluation; 0: none
    )
    save_every: int = 500  # steps between two checkpoints
    keep: Keep = Keep()

    def __post_init__(self) -> None:
        check_objective(self.objective)
        positive = ("steps", "microbatches", "report_every", "evaluate_every", "save_every")
        for name in positive:
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("restarts", "probe_images"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must not be negative")
        if self.data.batch % self.microbatches:
            raise InputError(
                f"batch {self.data.batch} cannot be cut into {self.microbatches} microbatches; "
                "choose --microbatches that divides --data.batch"
            )
        if self.average is not None and not 0 < self.average < 1:
            raise InputError(f"average={self.average} must lie between 0 and 1, e.g. 0.999")

    def watch(self, start: int, *, host: int, hosts: int, is_training: bool = True) -> Watch:
        """The watch over the run's hosts and, where it trains, over its own progress."""
        stuck_after = self.hosts.stuck_after if is_training else 0.0
        limits = {"dead_after": self.hosts.dead_after, "stuck_after": stuck_after}
        return Watch(self.run, host=host, hosts=hosts, step=start, **limits)


def read_config(kind: type[Config], description: str, arguments: list[str] | None = None) -> Config:
    """The config of `--config FILE`, changed by flags like `--data.batch 128`.

    Raises InputError for a missing file, a file that binds no config, an unknown field (with the
    nearest real one); tyro ends the program with exit code 2 for a value of another type.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    chosen, flags = parser.parse_known_args(arguments)
    if chosen.config is None:
        recipes = ", ".join(sorted(str(path) for path in Path("configs").glob("*.py")))
        raise InputError(f"--config FILE is missing; the recipes are: {recipes or 'none here'}")
    config = load_config(chosen.config, kind)
    if not {"-h", "--help"} & set(flags):
        check_flags(config, flags)
    return tyro.cli(
        kind,
        args=flags,
        default=config,
        description=description,
        prog=f"{Path(sys.argv[0]).name} --config {chosen.config}",
        config=(tyro.conf.AvoidSubcommands,),
    )


def load_config(path: str | Path, kind: type[Config]) -> Config:
    """Runs a recipe and returns the `config` that it binds; `run` becomes runs/NAME if empty."""
    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise InputError(f"config {path} does not exist{hint}")
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"config {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = getattr(module, "config", None)
    if not isinstance(config, kind):
        raise InputError(f"config {path} must bind `config = {kind.__name__}(…)`")
    if getattr(config, "run", None) == "":
        config = dataclasses.replace(config, run=f"runs/{path.stem}")  # type: ignore[type-var]
    return config


def check_flags(config: Any, flags: list[str]) -> None:
    """Raises InputError for the first flag that names no field, with the nearest one that does."""
    known = field_names(config)
    for flag in flags:
        if not flag.startswith("--"):
            continue
        name = flag[2:].split("=")[0].replace("-", "_")
        plain = ".".join(
            part.removeprefix("no_") if i == name.count(".") else part
            for i, part in enumerate(name.split("."))
        )
        if name not in known and plain not in known:
            near = difflib.get_close_matches(name, known, 1, cutoff=0.3)
            hint = f"; the nearest is --{near[0]}" if near else ""
            raise InputError(f"there is no field --{name}{hint}; --help lists all")


def field_names(config: Any, prefix: str = "") -> list[str]:
    """Every field of a configuration that a flag can change, as dotted paths."""
    names = []
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            names += field_names(value, f"{prefix}{entry.name}.")
        else:
            names.append(prefix + entry.name)
    return names
