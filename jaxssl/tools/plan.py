"""Plan a run for devices that this machine lacks: memory, collectives, time, and settings that cannot work.

The training step of the recipe is compiled for the devices. Nothing runs, and no prepared data are needed.
Further flags change fields of the recipe, as in `jaxssl train`.

  jaxssl plan bert_base --on v5e:16x16
  jaxssl plan gpt2_small --on v5p:4x4x4 --slices 2 --length 1024 --microbatches 1 --mesh.fsdp 16
  jaxssl plan bert_base --on h100:8x8 --json plan.json         8 nodes of 8 GPUs
  jaxssl plan bert_tiny --on cpu:8                             devices simulated on this machine
  jaxssl plan mae_vitb16 --on v5e:16x16 --size 256             a recipe on images

A plan for TPUs needs the package libtpu (pip install 'jax[tpu]'), one for GPUs JAX's CUDA plugin (pip
install 'jax[cuda12]'), but no TPU or GPU. Without the package the plan has only what follows from shapes.
"""

import argparse

import jax

from jaxssl.data.stores.json_files import write_json
from jaxssl.errors import InputError
from jaxssl.planning.page import as_json, as_text
from jaxssl.planning.plan import Plan, make_plan
from jaxssl.planning.search import fastest
from jaxssl.planning.targets import EXAMPLES, Target, known_targets, read_target
from jaxssl.tools.output_files import check_output_file
from jaxssl.tools.prepare_images import size_of
from jaxssl.tools.shipped import recipe_file
from jaxssl.tools.still_working import still_working
from jaxssl.training.chips import CHIPS
from jaxssl.training.config import Pretraining, read_config

WITH_CLOCK = tuple(chip.name for chip in CHIPS if chip.clock)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl plan` to `parser`."""
    parser.add_argument(
        "config",
        metavar="RECIPE",
        help="name of a recipe (`jaxssl recipes` lists them), or a .py file of your own",
    )
    parser.add_argument(
        "--on",
        required=True,
        metavar="CHIP:SHAPE",
        help=f"devices to plan for: {EXAMPLES}; chips: {known_targets()}",
    )
    parser.add_argument(
        "--slices",
        type=int,
        default=1,
        help="TPU slices, connected by the network of the data center (default: %(default)s)",
    )
    _add_data(parser)
    parser.add_argument(
        "--search",
        action="store_true",
        help="find what layers keep for the backward pass (remat), and the largest microbatch, that make the "
        "fastest step that fits into memory, by a few compilations",
    )
    parser.add_argument("--json", metavar="FILE", help="write the plan to this file as well")
    parser.add_argument(
        "--trace",
        default="",
        metavar="FILE.json",
        help="write the schedule of a step as a trace, which ui.perfetto.dev shows; for "
        f"{', '.join(WITH_CLOCK)}, whose clock rate is known",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--length",
        type=int,
        help="tokens of a row, or of a caption (default: as in the prepared set if it exists, else 512, or "
        "77 for a caption)",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        help="vocabulary size of the tokenizer (default: as in the prepared set if it exists, else 32768)",
    )
    parser.add_argument(
        "--document",
        type=int,
        metavar="TOKENS",
        help="mean tokens of a document, for the blocks that attention skips (default: that of the set)",
    )
    parser.add_argument(
        "--size",
        metavar="PIXELS",
        help="size of images: the side of a square, or HEIGHTxWIDTH (default: as in the prepared set if it "
        "exists, else 224)",
    )


def run(options: argparse.Namespace) -> Plan:
    """Prints the plan of a recipe and returns it.

    Args:
      options: Options of the command line; `config_flags` are flags that change fields of the recipe.

    Raises:
      InputError: The settings cannot work on these devices.
    """
    json_file = (
        check_output_file(options.json, "--json", make_folder=True) if options.json else None
    )
    if options.document is not None and options.document < 1:
        raise InputError(f"--document {options.document} is not at least 1")
    jax.config.update("jax_platforms", "cpu")  # takes no accelerator, even if there is one
    recipe = str(recipe_file(options.config))
    config = read_config(Pretraining, __doc__ or "", ["--config", recipe, *options.config_flags])
    target = read_target(options.on, options.slices)
    check_trace(options.trace, target)
    rows = {"length": options.length, "vocab_size": options.vocab_size}
    rows |= {"size": None if options.size is None else size_of(options.size)}
    if options.search:
        with still_working(f"searching the fastest step that fits {options.on}"):
            config, attempts = fastest(config, target, **rows)
        for attempt in attempts:
            chosen = "  <- fastest that fits" if attempt.config is config else ""
            print(f"{attempt.in_words}{chosen}")
    with still_working(f"compiling the step of {options.config} for {options.on}"):
        plan = make_plan(config, target, **rows, document=options.document, trace=options.trace)
    print(as_text(plan, options.config))
    if json_file is not None:
        write_json(json_file, as_json(plan, options.config))
    return plan


def check_trace(file: str, target: Target) -> None:
    """Checks that a trace can be written to `file` for the devices of `target`; an empty name asks for none.

    Raises InputError if the clock rate of the devices is not known, so that a schedule has no times, or if
    the file cannot be written.
    """
    if not file:
        return
    if target.chip is None or not target.chip.clock:
        raise InputError(
            f"--trace: the clock rate of {target.text} is not known, so its schedule has no times; leave "
            f"--trace out, or plan for {', '.join(WITH_CLOCK)}"
        )
    check_output_file(file, "--trace", make_folder=True)
