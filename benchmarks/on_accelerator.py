"""How fast is a step on this machine's accelerator, and is it right there? One command, eight minutes.

    python -m benchmarks.on_accelerator --into runs/h100
    python -m benchmarks.on_accelerator --only bert_base,gpt2_small --batch 32
    python -m benchmarks.on_accelerator --tiny                     on a CPU, in a minute or two

Six recipes in bfloat16 on random rows, through the step that `train.py` runs: bert_base, modernbert_base,
gpt2_small, electra_base, simclr_resnet50, mae_vitb16. For each: seconds to compile, tokens or images a
second of one device (median of windows of about a second), share of the device's peak, peak memory, and
whether the same three steps from the same seed give the same bits; then the same step in torch (Hugging
Face with SDPA, or timm) where that is installed. And fused attention against the plain formula (`attention`).

Parts run one after another, each in a process of its own: first attention, then our steps, then torch's. A
part that fails or is stopped leaves what it has found, and its error as a line; one whose batch does not fit
is run again with half of it. FOLDER gets `on_accelerator.json`, `on_accelerator.md`, and the parts' logs.

The machine needs no network. Its wheels are made on another one, of the same platform and Python, and the
command is run in the checkout (which is then what is measured):

    pip wheel -w wheels '.[cuda]' torch transformers timm          with network; '.[tpu]' for a TPU
    pip install --no-index --find-links wheels 'jaxssl[cuda]' torch transformers timm

Where JAX and torch ask for different versions of NVIDIA's libraries, torch, transformers and timm go into an
environment of their own: `--peer-python torch/bin/python`. A machine that has JAX, Flax, Optax, Orbax and
torch needs the rest alone (`--no-deps`): tyro, docstring-parser, array_record, cloudpickle, etils, fsspec,
jaxtyping, tokenizers and sentencepiece.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from benchmarks.on_accelerator_parts.cases import CASES, make_run, shape_of
from benchmarks.on_accelerator_parts.jobs import LEAST, Clock, run_halving, run_part
from benchmarks.on_accelerator_parts.machine import (
    command_line,
    describe_machine,
    describe_versions,
)
from benchmarks.on_accelerator_parts.record import NotHere
from benchmarks.on_accelerator_parts.report import figures_of, notes_of, page

NAMES = ("attention", *CASES)
WINDOWS = 5
Found = dict[str, Any]


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `None` stands for that of this process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", default="runs/on_accelerator", metavar="FOLDER")
    parser.add_argument("--only", default=",".join(NAMES), help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=480, help="for everything together")
    parser.add_argument("--batch", type=int, help="rows of a device; by default by its memory")
    parser.add_argument("--steps", type=int, help="of a window; by default about a second")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="that are timed")
    parser.add_argument("--no-peers", action="store_true", help="leave torch out")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--tiny", action="store_true", help="small networks and rows, for a CPU")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(NAMES):
        parser.error(f"--only {','.join(sorted(unknown))}: there are {', '.join(NAMES)}")
    for name in ("seconds", "batch", "steps", "windows"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} {value} must be above 0")
    if options.tiny:
        options.steps, options.windows = options.steps or 2, min(options.windows, 3)
    return options


class Benchmark:
    """The parts of a run, what they have found so far, and the time that is left."""

    def __init__(self, options: argparse.Namespace, run: Any = run_part):
        self.options, self.run = options, run
        self.clock = Clock(options.seconds)
        self.folder = Path(options.into).resolve()
        self.logs = self.folder / "parts"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.attention: Found = {}
        self.recipes: dict[str, Found] = {}
        self.skipped: list[str] = []
        self.about = {
            "command": command_line(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": describe_machine(),
            "versions": describe_versions(),
        }

    def parts(self) -> list[tuple[str, str]]:
        """Returns kind and name of the parts, in order."""
        names = [name for name in CASES if name in self.options.only]
        first = [("attention", "")] if "attention" in self.options.only else []
        peers = [] if self.options.no_peers else [("peer", name) for name in names]
        return [*first, *(("ours", name) for name in names), *peers]

    def go(self) -> None:
        """Runs all parts, and writes the results after each. Raises NotHere without an accelerator."""
        parts = self.parts()
        for number, (kind, name) in enumerate(parts):
            expected = self.clock.expected([kind for kind, _ in parts[number:]])
            label = f"{kind} {name}".strip()
            if self.clock.left < LEAST:
                self.skipped.append(label)
                continue
            self.say(f"{label} … (about {expected:.0f} s more in all)")
            found = self.part(kind, name)
            self.keep(kind, name, found)
            self.say(f"{label}: {self.summary(kind, name, found)}")
            self.write()
            if kind != "peer" and found.get("not_here"):
                raise NotHere(found["error"])
        self.write()

    def part(self, kind: str, name: str) -> Found:
        """Runs one part, again with half the batch where it does not fit."""
        options = self.options
        job = {"part": kind, "name": name, "batch": options.batch, "steps": options.steps}
        job |= {"windows": options.windows, "tiny": options.tiny}
        python = sys.executable
        if kind == "peer":
            job["batch"] = self.recipes.get(name, {}).get("ours", {}).get("batch")
            job["batch"] = job["batch"] or options.batch or CASES[name].batch
            job["shape"] = shape_of(*make_run(CASES[name], job["batch"], tiny=options.tiny))
            python = options.peer_python
        began = self.clock.spent
        found = run_halving(
            job,
            lambda job: self.run(job, self.logs, self.clock.left, python),
            enough_time=lambda: self.clock.left > LEAST,
        )
        if not found.get("not_here"):
            self.clock.took.setdefault(kind, []).append(self.clock.spent - began)
        return found

    def keep(self, kind: str, name: str, found: Found) -> None:
        """Keeps what a part has found."""
        if kind == "attention":
            self.attention = found
            return
        of_recipe = self.recipes.setdefault(name, {"ours": {}, "peer": {}})
        of_recipe[kind] = found
        of_recipe["figures"] = figures_of(of_recipe["ours"], of_recipe["peer"])

    def summary(self, kind: str, name: str, found: Found) -> str:
        """Returns what a part has found, in a line."""
        if kind == "attention":
            cases = found.get("cases", {}).values()
            checked = [case.get("right", False) for case in cases if "not_fused" not in case]
            text = f"{sum(checked)} of {len(checked)} fused cases are right"
        else:
            speed = self.recipes[name]["figures"]["jaxssl" if kind == "ours" else "torch"]
            unit = self.recipes[name]["ours"].get("unit", "rows")
            text = f"{speed['rate']:,.0f} {unit}/s a device" if speed else "no speed"
            if speed and speed["share"] is not None:
                text += f", {speed['share']:.1%} of peak"
        return f"{text}; {found['error']}" if found.get("error") else text

    def results(self) -> Found:
        """Returns everything that is known, in types that JSON has."""
        tiny = ["networks and rows are tiny: the figures say nothing of speed"]
        notes = [
            note
            for name, found in self.recipes.items()
            for note in notes_of(name, found["ours"], found["peer"], found["figures"])
        ]
        if self.attention.get("error"):
            notes.append(f"attention: {self.attention['error']}")
        if self.skipped:
            notes.append(f"time was over before: {', '.join(self.skipped)}")
        notes = tiny * self.options.tiny + notes
        ran = [self.attention, *(found["ours"] for found in self.recipes.values())]
        device = next((found["device"] for found in ran if "device" in found), {})
        peers = [found["peer"].get("versions", {}) for found in self.recipes.values()]
        versions = {**self.about["versions"]}
        for found in peers:
            versions |= found
        measured = {"attention": self.attention, "recipes": self.recipes, "notes": notes}
        seconds = self.clock.spent
        return {
            **self.about,
            "versions": versions,
            "device": device,
            "seconds": seconds,
            **measured,
        }

    def write(self) -> None:
        """Writes the JSON file and the page."""
        results = self.results()
        files = {"json": json.dumps(results, indent=1), "md": page(results)}
        for ending, text in files.items():
            (self.folder / f"on_accelerator.{ending}").write_text(text, encoding="utf-8")

    def say(self, text: str) -> None:
        """Prints a line with the time."""
        print(f"[{self.clock.spent:4.0f} of {self.clock.seconds:.0f} s] {text}", flush=True)


def main() -> None:
    """Runs the benchmark and prints the page."""
    options = read_options()
    jax.config.update("jax_platforms", "cpu")  # the devices are for the parts
    benchmark = Benchmark(options)
    try:
        benchmark.go()
    except NotHere as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"\n{(benchmark.folder / 'on_accelerator.md').read_text(encoding='utf-8')}")


if __name__ == "__main__":
    main()
