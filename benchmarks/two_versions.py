"""Is this version of the library slower than another one? Both take turns on one machine.

    git worktree add ../before v0.1.0
    python benchmarks/two_versions.py ../before . --models bert_tiny gpt2_tiny --repeats 30

Each version runs in a process of its own, with the `benchmarks/language_models.py` of its own checkout, and
both get the same rows. A step is the one that `train.py` runs (see steps.py); the losses are value and
gradient. A ratio is the median of the ratios of neighbouring turns, new / old, with its middle half.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

LOSSES = ("nt_xent", "info_nce", "linear_cross_entropy", "masked_lm", "vicreg")
PAUSE = 0.05  # seconds before a turn, in which the threads of the other process stop spinning


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, help="checkout of the version to compare with")
    parser.add_argument("new", type=Path, nargs="?", default=Path(), help="checkout (here)")
    parser.add_argument("--models", nargs="*", default=["bert_tiny", "gpt2_tiny"])
    parser.add_argument("--losses", nargs="*", default=list(LOSSES), choices=LOSSES)
    parser.add_argument("--repeats", type=int, default=20, help="turns that are timed")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    print("| what | old s | new s | new / old (middle half) |\n|---|---|---|---|", flush=True)
    for name in [*options.models, *options.losses]:
        print(row(name, options), flush=True)


def row(name: str, options: argparse.Namespace) -> str:
    """Times both versions of one program and formats the result as a row of the table."""
    sides = [start(folder, name) for folder in (options.old, options.new)]
    pairs = [[turn(side, number) for side in sides] for number in range(2 + options.repeats)][2:]
    for side in sides:
        side.stdin.close()
        side.wait()
    ratios = sorted(new / old for old, new in pairs)
    quarter = len(ratios) // 4
    old, new = (median(pair[side] for pair in pairs) for side in range(2))
    middle = f"{ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f}"
    return f"| {name} | {old:.4f} | {new:.4f} | {median(ratios):.3f} ({middle}) |"


def start(folder: Path, name: str) -> Any:
    folder = folder.resolve()
    paths = os.pathsep.join(str(path) for path in (folder, folder / "benchmarks"))
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            Path(__file__).resolve(),
            ".",
            "--serve",
            name,
        ],  # -P: not this folder
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def turn(side: Any, number: int) -> float:
    """Lets a process run its program once and returns the seconds that it took."""
    time.sleep(PAUSE)
    side.stdin.write(f"{number}\n")
    side.stdin.flush()
    return float(json.loads(side.stdout.readline()))


def serve(name: str) -> None:
    """Runs a program once for every line of the standard input, and prints the seconds."""
    run = make_loss(name) if name in LOSSES else Step(name)
    for line in sys.stdin:
        argument = run.prepare(int(line)) if hasattr(run, "prepare") else int(line)
        began = time.perf_counter()
        run(argument)
        print(json.dumps(time.perf_counter() - began), flush=True)


class Step:
    """The training step of a language model of steps.py."""

    def __init__(self, name: str):
        from language_models import make_ours
        from steps import MODELS

        self.model = MODELS[name]
        self.program = make_ours(self.model)

    def prepare(self, number: int) -> Any:
        return self.model.random_rows(number)

    def __call__(self, rows: Any) -> None:
        self.program(rows)


def make_loss(name: str) -> Any:
    """Value and gradient of one loss on fixed random arrays."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxssl import losses

    random = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return jnp.asarray(random.normal(size=shape), jnp.float32)

    ids = jnp.asarray(random.integers(0, 8192, 1024), jnp.int32)
    ones = jnp.ones(1024)
    cases: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "nt_xent": (
            lambda a, b: losses.nt_xent(a, b, block_size=512),
            (normal(2048, 128), normal(2048, 128)),
        ),
        "info_nce": (losses.info_nce, (normal(1024, 128), normal(1024, 128))),
        "linear_cross_entropy": (
            lambda hidden, kernel: losses.linear_cross_entropy(hidden, kernel, ids, ones),
            (normal(1024, 256), normal(8192, 256)),
        ),
        "masked_lm": (lambda logits: losses.masked_lm(logits, ids, ones), (normal(1024, 8192),)),
        "vicreg": (losses.vicreg, (normal(512, 1024), normal(512, 1024))),
    }
    loss, arrays = cases[name]
    program = jax.jit(jax.value_and_grad(loss, tuple(range(len(arrays)))))
    return lambda number: jax.block_until_ready(program(*arrays))


if __name__ == "__main__":
    main()
