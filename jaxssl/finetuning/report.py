"""What a finetuning prints: the data and the network at its beginning, then the report of a training run."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxssl.data.labelled.example_batches import ExampleBatches
from jaxssl.data.labelled.texts import class_shares
from jaxssl.finetuning.setup import Setup
from jaxssl.objectives.batches.batch import Ratio
from jaxssl.optimizers.recipe import Recipe
from jaxssl.pretrained.load import Pretrained
from jaxssl.training.flops import forward_flops
from jaxssl.training.loss_picture import draw_losses, read_metrics, spark_line
from jaxssl.training.metrics import Report, rate_of


def announce(setup: Setup, pretrained: Pretrained) -> None:
    """Prints what is about to run: examples, classes, lengths and network.

    Args:
      setup: What the runs of all seeds share.
      pretrained: What the pretraining has left.
    """
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
        lost = (
            f"; {cut:,} truncated to {setup.spec.longest} tokens ({cut / len(table):.1%})"
            * bool(cut)
        )
        print(f"{split:<5} {used:,}{of} {text}s of {table.name}{lost}")
        if table.left_out:
            way = "; data.missing says which labels mean none" * ("label" in table.left_out)
            print(f"      left out: {table.left_out}{way}")
    label, share = max(class_shares(data, "dev").items(), key=lambda pair: pair[1])
    shown = ", ".join(data.names[:12]) + (", …" if len(data.names) > 12 else "")
    f1 = f"; f1 is that of {data.names[setup.positive]}" if len(data.names) == 2 else ""
    print(
        f"{len(data.names)} classes: {shown}; always {label} is right in {share:.1%} of dev{f1}\n"
        f"{plan.steps:,} steps of {config.batch}, padded to "
        f"{', '.join(map(str, setup.spec.lengths))} tokens; seeds "
        f"{', '.join(map(str, config.seeds))}; run: {config.folder}",
        flush=True,
    )
    if isinstance(config.optimizer, Recipe):
        for line in config.optimizer.cautions(plan.steps, pretrained.model):
            print(f"warning: optimizer.{line}", flush=True)


def seed_report(setup: Setup, train: ExampleBatches, folder: Path, start: int) -> Report:
    """Returns the report of a training run for the run of one seed.

    Args:
      setup: What the runs of all seeds share.
      train: Batches of the training examples, in the order of this seed.
      folder: Folder of this seed's run.
      start: Steps that the run has taken already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    length = train.mean_length()

    def rows_of_step(step: int) -> str:
        ids = setup.data.train_ids(train.seed)[train.row_ids(step)]
        listed = ", ".join(str(i) for i in ids[:8])
        return f"examples {listed}, … of {setup.data.tables['train'].name}"

    return Report(
        folder,
        start=start,
        steps=setup.plan.steps,
        report_every=setup.config.report_every,
        unit="tokens",
        units_per_step=setup.spec.batch * length,
        flops_per_step=flops_of_step(setup, round(length)),
        rows_of_step=rows_of_step,
        learning_rate=rate_of(setup.config.optimizer, setup.plan.steps),
    )


def flops_of_step(setup: Setup, length: int) -> float:
    """Returns the floating-point operations of a step of `setup.spec.batch` examples of `length` tokens."""
    task, batch = setup.config.task, setup.spec.batch
    key = jax.eval_shape(lambda: jax.random.key(0))
    model = jax.eval_shape(lambda key: task.init(key, setup.network, setup.spec), key)
    arrays = {
        "tokens": jax.ShapeDtypeStruct((batch, length), jnp.int32),
        "sizes": jax.ShapeDtypeStruct((batch, 2), jnp.int32),
        "labels": jax.ShapeDtypeStruct((batch,), jnp.int32),
    }
    examples = jax.eval_shape(task.weigh, arrays)
    return forward_flops(task.loss, model, (), examples, key).total


def draw_curve(setup: Setup, folder: Path) -> str:
    """Draws `loss.png` in the folder of a seed: the loss in training and on dev, and that of guessing.

    Guessing is to predict the shares of the classes among the training examples, whatever the text.

    Args:
      setup: What the runs of all seeds share.
      folder: Folder of this seed's run.

    Returns:
      The loss in training as a line of characters, and the path of the picture.
    """
    shares = np.array(list(class_shares(setup.data, "train").values()))
    picture = draw_losses(folder, chance=float(-(shares * np.log(shares)).sum()))
    losses = [record["loss"] for record in read_metrics(folder, "train")]
    return f"loss  {spark_line(losses)}   {picture}"


def as_sums(scores: dict[str, float]) -> list[dict[str, Ratio]]:
    """Returns `scores`, which are means already, in the form of the metrics of a batch."""
    return [{name: Ratio(jnp.float32(value), jnp.float32(1.0)) for name, value in scores.items()}]
