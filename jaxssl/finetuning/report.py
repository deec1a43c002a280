"""What a finetuning tells: the data and the network at its begin, then a training's own report."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from jaxssl.data.labelled.example_batches import ExampleBatches
from jaxssl.data.labelled.texts import class_shares
from jaxssl.finetuning.setup import Setup
from jaxssl.models.flops import forward_flops
from jaxssl.objectives.batches.batch import Ratio
from jaxssl.pretrained.load import Pretrained
from jaxssl.training.collapse import CollapseAlarm
from jaxssl.training.metrics import Report


def announce(setup: Setup, pretrained: Pretrained) -> None:
    """What is about to run: examples, classes, lengths, network."""
    config, data, plan = setup.config, setup.data, setup.plan
    parameters = sum(leaf.size for leaf in jax.tree.leaves(pretrained.model))
    origin = f"{config.task.checkpoint}, step {pretrained.step:,}"
    network, text = setup.network, "pair" if config.data.second else "text"
    print(
        f"{'random parameters, shaped as' if config.from_scratch else 'parameters of'} {origin}: "
        f"depth {network.depth}, width {network.width}, {parameters / 1e6:.2f} M with its heads"
    )
    for split, table in data.tables.items():
        used = len(data.train_ids(config.seeds[0])) if split == "train" else len(table)
        of = f" of {len(table):,}" if used < len(table) else ""
        cut = data.truncated[split]
        lost = f"; {cut:,} cut to {setup.spec.longest} tokens ({cut / len(table):.1%})" * bool(cut)
        print(f"{split:<5} {used:,}{of} {text}s of {table.name}{lost}")
    label, share = max(class_shares(data, "dev").items(), key=lambda pair: pair[1])
    shown = ", ".join(data.names[:12]) + (", …" if len(data.names) > 12 else "")
    print(
        f"{len(data.names)} classes: {shown}; always {label} is right in {share:.1%} of dev\n"
        f"{plan.steps:,} steps of {config.batch}, padded to "
        f"{', '.join(map(str, setup.spec.lengths))} tokens; seeds "
        f"{', '.join(map(str, config.seeds))}; run: {config.folder}",
        flush=True,
    )


def seed_report(setup: Setup, train: ExampleBatches, folder: Path, start: int) -> Report:
    """The report of a training run, for the run of one seed."""
    folder.mkdir(parents=True, exist_ok=True)
    length = train.mean_length()
    objective = SimpleNamespace(
        forward_flops=lambda spec: forward_flops(setup.network, spec.length)
    )
    config: Any = SimpleNamespace(
        run=str(folder),
        steps=setup.plan.steps,
        report_every=setup.config.report_every,
        objective=objective,
        collapse=CollapseAlarm(),
    )
    rows: Any = SimpleNamespace(
        spec=SimpleNamespace(
            batch=setup.spec.batch,
            length=length,
            unit="tokens",
            units=setup.spec.batch * length,
        ),
        row_ids=lambda step: setup.data.train_ids(train.seed)[train.row_ids(step)],
        documents=lambda ids: [setup.data.tables["train"].name],
    )
    return Report(config, rows, start=start)


def as_sums(scores: dict[str, float]) -> list[dict[str, Ratio]]:
    """Scores as the report takes them: already means."""
    return [{name: Ratio(jnp.float32(value), jnp.float32(1.0)) for name, value in scores.items()}]
