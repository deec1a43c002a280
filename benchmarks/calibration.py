"""How far are forecasts of steps on TPUs from steps that somebody has measured?

    pip install libtpu requests
    python -m benchmarks.calibration                     both models, about a quarter of an hour on two cores
    python -m benchmarks.calibration 16B

MaxText publishes what its decoders of 16 and 32 billion parameters reach on 256 chips of v5e. The same
shapes are compiled here, as this library's own step: layers, widths, rows of 2,048 tokens, rows a chip,
parameters sharded over all chips, nothing kept between layers. Printed are our forecast, the published share
of peak, and their ratio. The two programs are not the same, so that the ratio holds the difference between
the libraries as well as the forecast's error; it is an error bar, and no measurement of ours.

Published: AI-Hypercomputer/maxtext, MaxText/configs/v5e/README.md, row "1x v5e-256"; their settings are in
16b.sh and 32b.sh there (`global_parameter_scale`).
"""

import argparse
from typing import NamedTuple

import jax

from jaxssl.data.rows import Rows
from jaxssl.errors import InputError
from jaxssl.models import modern
from jaxssl.objectives import CausalLM
from jaxssl.optimizers.recipes import AdamW
from jaxssl.planning.plan import make_plan
from jaxssl.planning.targets import read_target
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.config import Pretraining

ON, CHIPS, LENGTH, VOCAB_SIZE = "v5e:16x16", 256, 2048, 32_000


class Measured(NamedTuple):
    """A model that MaxText was measured with."""

    width: int
    rows: int
    """Rows a chip."""
    utilisation: float
    """Published share of peak."""


MODELS = {"16B": Measured(4096, 6, 0.6110), "32B": Measured(8192, 4, 0.6686)}


def recipe(model: Measured) -> Pretraining:
    """Returns the run of a model: MaxText's default block is that of LLaMA."""
    decoder = modern(
        depth=32, width=model.width, heads=64, head_width=128, mlp=28_672, causal=True,
        max_length=LENGTH, compute_dtype="bfloat16", remat="inputs",
    )  # fmt: skip
    return Pretraining(
        Rows("prepared/none", batch=model.rows * CHIPS),
        objective=CausalLM(decoder),
        optimizer=AdamW(),
        mesh=Mesh(data=1, fsdp=CHIPS),
    )


def main() -> None:
    """Prints the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}")
    options = parser.parse_args()
    if unknown := set(options.models) - set(MODELS):
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(MODELS)}")
    jax.config.update("jax_platforms", "cpu")
    print(f"{ON}, jax {jax.__version__}")
    print("| model | parameters | forecast, ms | of peak | published | published / forecast |")
    print("|---|---|---|---|---|---|")
    for name in options.models or MODELS:
        model = MODELS[name]
        try:
            plan = make_plan(recipe(model), read_target(ON), length=LENGTH, vocab_size=VOCAB_SIZE)
        except InputError as error:  # it does not fit
            print(f"| {name} | {error} |", flush=True)
            continue
        if plan.measured is None or plan.measured.forecast is None:
            print(f"| {name} | {plan.not_compiled or 'the compiler has written no cycles'} |")
            continue
        found = plan.measured.forecast
        print(
            f"| {name} | {plan.counts.parameters / 1e9:.1f} B | {found.seconds * 1e3:,.0f} | "
            f"{found.utilisation:.1%} | {model.utilisation:.1%} | "
            f"{model.utilisation / found.utilisation:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
