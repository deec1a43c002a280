"""The configuration of a pretraining run, and the one place that reads command lines."""

import argparse
import contextlib
import dataclasses
import difflib
import io
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

import tyro

from jaxssl.data.images import ImageReader, Images
from jaxssl.data.rows import RowReader, Rows
from jaxssl.errors import InputError, causes, check_at_least, checked
from jaxssl.exporting.row_content import words_of
from jaxssl.help_text import without_fields
from jaxssl.objectives.contract import check_objective
from jaxssl.optimizers.recipes import AdamW
from jaxssl.runs.checkpoint import Keep
from jaxssl.runs.hosts import Hosts
from jaxssl.runs.modules import load_code, load_module
from jaxssl.runs.watch import Watch
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.collapse import CollapseAlarm
from jaxssl.training.compiler_options import read_options
from jaxssl.training.flags import check_flags, check_values, in_one_line
from jaxssl.training.flags_help import docstring_of, help_of
from jaxssl.training.profiling import steps_of
from jaxssl.training.start_network import with_start_network

LARGEST_SEED = 2**31 - 3  # seed + 1 and seed + 2 are seeds, too
Config = TypeVar("Config")
HELP = """\
--config FILE         the recipe; `jaxssl recipes` lists those that come with jaxssl
--config FILE --help  all fields of the recipe, with their meaning and their values
--FIELD VALUE         changes a field of the recipe
--code FILE.py|MODULE first runs a file or imports a module with classes of your own; may be repeated"""
Reader = RowReader | ImageReader


@dataclass(frozen=True)
@checked
class Pretraining:
    """Everything that a pretraining run is made of. `configs/` holds recipes; flags change single fields."""

    data: Rows | Images
    """Prepared rows of text, or images, that are read, and how many of them make a batch."""
    objective: Any
    """Self-supervised task that is learned, an `Objective` such as `MaskedLM` or `SimCLR`."""
    optimizer: Any = field(default_factory=AdamW)
    """Optimizer with its learning rate schedule, such as `AdamW`."""
    mesh: Mesh = Mesh()
    """Number of devices along the axes data, fsdp and tensor."""
    compiler_options: tuple[str, ...] | None = None
    """Options of XLA's compiler for the training step, each as NAME=VALUE. None takes those with which
    collectives run beside compute on the TPUs at hand; the run prints them. Empty for the compiler's own."""
    gradient_sums: Literal["computed", "float32"] = "computed"
    """Type in which TPUs add up gradients over devices: that in which the network computes, so that bfloat16
    halves what is sent, or float32. Over microbatches they are added up in float32 either way."""
    steps: int = 10_000
    """Number of optimizer steps after which the run ends."""
    microbatches: int = 1
    """Number of equal parts that every batch is split into for gradient accumulation, to save memory. The
    gradient is that of the whole batch, except that dropout draws a mask for each part and batch norms inside
    an encoder see one part."""
    average: float | None = None
    """Decay of a moving average of the parameters, e.g. 0.999; the average is then evaluated and used. After
    t steps it is at most (1 + t) / (10 + t), so that the first parameters do not linger. None keeps none."""
    seed: int = 0
    """Seed of the initial parameters, of the order of the rows and of all corruption and dropout."""
    start: str = ""
    """Folder of a run whose parameters this run begins with, where names and shapes are equal. On a command
    line `--start RUN` also takes the shape of the network from that run. Empty for random parameters."""
    run: str = ""
    """Folder of the run, or its address on an object store. Empty for `runs/NAME`, named for the recipe."""
    hosts: Hosts = Hosts()
    """How several hosts find each other, and when one counts as dead or stuck."""
    restarts: int = 0
    """How many times the command is started again after the run has died."""
    report_every: int = 50
    """Number of steps between two lines of the log."""
    collapse: CollapseAlarm = CollapseAlarm()
    """When to warn or to stop because all embeddings have become alike."""
    evaluate_every: int = 500
    """Number of steps between two evaluations on held-out rows."""
    evaluate_batches: int = 50
    """Largest number of held-out batches that an evaluation reads."""
    probe_images: int = 0
    """Number of labelled images on which a linear classifier is fitted at every evaluation; 0 for none."""
    save_every: int = 500
    """Number of steps between two checkpoints."""
    keep: Keep = Keep()
    """Which checkpoints are kept."""
    export: bool = True
    """Whether the run is written for other tools at its end, to `exported` in its folder: a Hugging Face
    folder where transformers has such a network, else numpy arrays."""
    export_at: tuple[str, ...] = ()
    """Numbers of words of text, such as 1M 10M 100M, after which a Hugging Face folder is written to
    `exported/words_1M` and so on in the run's folder. Words are counted on the first 4,096 rows."""
    profile: str = ""
    """Steps whose trace is written to the run's folder, as START:STOP, e.g. 20:25. Empty for none."""
    verify: bool = True
    """Whether a checkpoint is compared with its hashes before the run goes on from it."""
    change_batch: bool = False
    """Whether a resumed run may go on with another `data.batch`; the rows that follow are then others."""

    def __post_init__(self) -> None:
        check_objective(self.objective)
        every = ("report_every", "evaluate_every", "save_every")
        check_at_least(self, 1, "steps", "microbatches", "evaluate_batches", *every)
        check_at_least(self, 0, "restarts", "probe_images", "seed")
        if self.seed > LARGEST_SEED:
            raise InputError(f"seed={self.seed} must be at most {LARGEST_SEED}")
        if self.data.batch % self.microbatches:
            raise InputError(
                f"data.batch={self.data.batch} cannot be cut into {self.microbatches} microbatches; "
                "choose a number of microbatches that divides it"
            )
        if self.profile:
            steps_of(self.profile)
        for words in self.export_at:
            words_of(words)
        read_options(self.compiler_options or ())
        if self.average is not None and not 0 < self.average < 1:
            raise InputError(f"average={self.average} must lie between 0 and 1, e.g. 0.999")

    def watch(self, *, host: int, hosts: int) -> Watch:
        """Returns the watch over the run's hosts and, in training, over this host's own progress.

        Args:
          host: Index of this host.
          hosts: Number of hosts.
        """
        limits = {"dead_after": self.hosts.dead_after, "stuck_after": self.hosts.stuck_after}
        return Watch(self.run, host=host, hosts=hosts, **limits)


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong with `--config` or `--code`."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


def read_config(
    kind: type[Config],
    description: str,
    arguments: list[str] | None = None,
    *,
    program: str | None = None,
) -> Config:
    """Returns the configuration of `--config FILE`, changed by flags like `--data.batch 128`.

    With `--help` the fields of the recipe are printed, or without a recipe the `description`, and the
    program ends.

    Args:
      kind: Class that the file must bind `config` to an instance of.
      description: What the program does, for the help without a recipe.
      arguments: Words of the command line; None takes those of this process.
      program: What the help calls the command; None names this process and the file.

    Raises:
      InputError: The file is missing or binds no configuration, a flag names no field or occurs twice, or a
        value is of another type or outside its domain.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", action="append")
    parser.add_argument("--code", action="append", default=[])
    chosen, flags = parser.parse_known_args(arguments)
    wants_help = bool({"-h", "--help"} & set(flags))
    if chosen.config is None:
        if wants_help:
            _exit_with(f"{description.strip()}\n\n{HELP}")
        raise InputError(
            "--config FILE is missing, e.g. --config configs/quickstart.py; `jaxssl recipes` lists all"
        )
    if len(chosen.config) > 1:
        raise InputError("--config is given twice; give it once")
    path = chosen.config[0]
    load_code(chosen.code)
    config = load_config(path, kind)
    if wants_help:
        program = program or f"{Path(sys.argv[0]).name} --config {path}"
        _exit_with(help_of(config, docstring_of(path) or description, program))
    check_flags(config, flags)
    if isinstance(config, Pretraining):
        config = with_start_network(config, flags)
    changed = _read_flags(kind, config, flags)
    check_values(changed, config)
    return _with_run(changed, path)


def _exit_with(text: str) -> NoReturn:
    print(text)
    sys.exit(0)


def _read_flags(kind: type[Config], config: Config, flags: list[str]) -> Config:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), without_fields():
            return tyro.cli(kind, args=flags, default=config, config=(tyro.conf.AvoidSubcommands,))
    except SystemExit as end:
        _raise_as_input_error(end)
        raise InputError(in_one_line(printed.getvalue())) from end


def _raise_as_input_error(end: SystemExit) -> None:
    """Raises what a configuration has refused, which tyro has put into a box, as one plain error."""
    for error in causes(end):
        frames = traceback.extract_tb(error.__traceback__)
        is_of_tyro = not frames or "tyro" in Path(frames[-1].filename).parts
        if isinstance(error, ValueError) and not is_of_tyro:
            raise InputError(str(error)) from error


def load_config(path: str | Path, kind: type[Config]) -> Config:
    """Runs a recipe and returns the `config` that it binds.

    Args:
      path: Python file of the recipe.
      kind: Class that `config` must be an instance of.

    Returns:
      The configuration; its `run` is `runs/NAME`, named for the file, where the recipe leaves it empty.

    Raises:
      InputError: There is no such file, or it binds no `config` of this class.
    """
    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise InputError(f"config {path} does not exist{hint}")
    config = getattr(load_module(path), "config", None)
    if not isinstance(config, kind):
        raise InputError(f"config {path} must bind `config = {kind.__name__}(…)`")
    return _with_run(config, path)


def _with_run(config: Config, recipe: str | Path) -> Config:
    """Returns `config` with a folder for its run, named for the recipe where there is none."""
    if getattr(config, "run", None) == "":
        config = dataclasses.replace(config, run=f"runs/{Path(recipe).stem}")  # type: ignore[type-var]
    return config
