"""How long would a step take on a TPU, by the compiler's own account? Compiled for v5e, without one.

    pip install libtpu requests
    python -m benchmarks.cycles                                  all rows of the table, an hour on two cores
    python -m benchmarks.cycles bert_base gpt2_small             these alone
    python -m benchmarks.cycles bert_base --json cycles.json

Each row is the training step of a recipe, compiled for four chips, with 16 rows of 512 tokens a chip or what
the table says. Cycles are those of `jaxssl plan`: what libtpu estimates for every operation, our estimate of
Pallas kernels, and the collectives that nothing hides. They are the same on every machine, so that two
versions of the code can be compared without an accelerator.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxssl.planning.forecast import Forecast
from jaxssl.planning.plan import make_plan
from jaxssl.planning.targets import read_target
from jaxssl.training.config import Pretraining, read_config


class Row(NamedTuple):
    """A row of the table: a recipe, its flags, and what its rows are like."""

    recipe: str
    flags: str
    shape: dict[str, Any]


ON = "v5e:2x2"
ROWS = (
    Row("bert_base", "--data.batch 64 --mesh.fsdp 1", {}),
    Row("electra_base", "--data.batch 64 --mesh.fsdp 1", {}),
    Row("modernbert_base", "--data.batch 64 --mesh.fsdp 1 --microbatches 1", {"length": 1024}),
    Row(
        "gpt2_small",
        "--data.batch 32 --mesh.fsdp 1 --microbatches 1",
        {"length": 1024, "vocab_size": 50304},
    ),
    Row("gpt_1b3", "--data.batch 8 --mesh.fsdp 4", {"length": 2048, "vocab_size": 50304}),
    Row("t5_small", "--data.batch 64 --mesh.fsdp 1", {}),
    Row("mae_vitb16", "--data.batch 256 --mesh.fsdp 1", {"size": (224, 224)}),
    Row("dino_vits16", "--data.batch 64 --mesh.fsdp 1", {"size": (224, 224)}),
    Row("simclr_resnet50_imagenet", "--data.batch 256 --mesh.fsdp 1", {"size": (224, 224)}),
)


def measure(row: Row) -> Forecast | str:
    """Returns the forecast of a row's step, or why there is none."""
    arguments = ["--config", f"configs/{row.recipe}.py", *row.flags.split()]
    config = read_config(Pretraining, __doc__ or "", arguments)
    plan = make_plan(config, read_target(ON), **row.shape)
    if plan.measured is None or plan.measured.forecast is None:
        return plan.not_compiled or "the compiler has written no cycles"
    return plan.measured.forecast


def line_of(row: Row, found: Forecast) -> str:
    """Returns the line of the table of one step."""
    parts = ", ".join(f"{name} {cycles / 1e6:.1f}" for name, cycles in found.parts.items())
    return (
        f"| {row.recipe} | {found.cycles / 1e6:.1f} | {found.seconds * 1e3:.1f} | "
        f"{found.utilisation:.0%} | {parts} |"
    )


def main() -> None:
    """Prints the table, a line as soon as it is known."""
    names = [row.recipe for row in ROWS]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"of {', '.join(names)}")
    parser.add_argument("--json", help="write all numbers to this file as well")
    options = parser.parse_args()
    if unknown := set(options.recipes) - set(names):
        parser.error(f"{', '.join(sorted(unknown))} is no row; there are {', '.join(names)}")
    jax.config.update("jax_platforms", "cpu")
    print(f"{ON}, jax {jax.__version__}")
    print("| recipe | M cycles a step | ms | of peak | M cycles by part |\n|---|---|---|---|---|")
    numbers = {}
    for row in ROWS:
        if options.recipes and row.recipe not in options.recipes:
            continue
        found = measure(row)
        if isinstance(found, str):
            print(f"| {row.recipe} | {found} | | | |", flush=True)
            continue
        print(line_of(row, found), flush=True)
        numbers[row.recipe] = {"flags": row.flags, "cycles": found.cycles, "parts": found.parts}
    if options.json:
        Path(options.json).write_text(json.dumps(numbers, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
