"""What a run prints at its beginning and at its end."""

from typing import Any

import jax

from jaxssl.data.images import Images
from jaxssl.data.prepared.shards import in_gib
from jaxssl.data.rows import RowReader
from jaxssl.data.stores.shard_cache import GIB
from jaxssl.objectives.causal_lm import CausalLM
from jaxssl.objectives.masked_lm import MaskedLM
from jaxssl.pretrained.continuation import show_continuation
from jaxssl.pretrained.images import open_subset
from jaxssl.pretrained.masked_predictions import show_predictions
from jaxssl.pretrained.pictures import SEARCHED, draw_pictures
from jaxssl.runs.hosts import print_once
from jaxssl.runs.stored_runs import run_folder
from jaxssl.training.cautions import cautions
from jaxssl.training.compiler_options import in_words
from jaxssl.training.config import Pretraining, Reader
from jaxssl.training.loss_picture import chance_loss, draw_losses, read_metrics, spark_line
from jaxssl.training.next_commands import next_commands
from jaxssl.training.step import TrainState


def announce(
    config: Pretraining,
    state: TrainState,
    rows: Reader,
    held_out: Reader,
    mesh: Any,
    changed: list[str],
) -> None:
    """Prints what is about to run: model, rows, devices, and the step at which it goes on.

    Args:
      config: Configuration of the run.
      state: State that the run begins with.
      rows: Reader of the training rows.
      held_out: Reader of the held-out rows.
      mesh: Devices of the run.
      changed: Lines that describe what has changed since the run began.
    """
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.model))
    spec, start = rows.spec, int(state.step)
    devices = jax.devices()
    print_once(
        f"{type(config.objective).__name__}: {parameters / 1e6:.2f} M parameters\n"
        f"rows: {rows.rows:,} of {spec.in_words} ({held_out.rows:,} held out), batch "
        f"{spec.batch}: {config.steps:,} steps are {epochs_in_words(config, rows)}\n"
        f"devices: {len(devices)} x {devices[0].device_kind}, mesh "
        + "x".join(str(size) for size in mesh.devices.shape)
        + f"; run: {config.run}"
    )
    if options := in_words(config, mesh):
        print_once(f"compiler options: {options}")
    if rows.stored_bytes > config.data.cache_gib * GIB:
        print_once(
            f"warning: the shards are {in_gib(rows.stored_bytes)} GiB and the cache holds "
            f"{config.data.cache_gib:g}: rows are read in random order, so most are fetched again for "
            f"every batch; --data.cache-gib {in_gib(rows.stored_bytes)} holds all"
        )
    for line in cautions(config, state.model):
        print_once(f"warning: {line}")
    for line in changed:
        print_once(f"changed since the run began: {line}")
    if start >= config.steps:
        print_once(f"step {start:,} of {config.steps:,} is saved already; raise --steps to go on")
    elif start:
        print_once(f"going on after step {start:,}")


def epochs_in_words(config: Pretraining, rows: Reader) -> str:
    """Returns how often a run reads its training rows, such as "8.5 epochs".

    In a mixture with weights of its own each set has another number, and the least and the most are named.

    Args:
      config: Configuration of the run.
      rows: Reader of the training rows.
    """
    read, weights = config.steps * rows.spec.batch, config.data.weights or rows.set_rows
    epochs = [
        read * weight / sum(weights) / count
        for weight, count in zip(weights, rows.set_rows, strict=True)
    ]
    least, most = f"{min(epochs):.1f}", f"{max(epochs):.1f}"
    return f"{least} epochs" if least == most else f"{least} to {most} epochs of the sets"


def conclude(config: Pretraining, state: TrainState, held_out: Reader) -> None:
    """Draws the loss, and shows samples: predicted tokens, a continuation, or pictures of images.

    Args:
      config: Configuration of the run.
      state: State after the last step.
      held_out: Reader of the held-out rows, which samples are taken from.
    """
    if jax.process_index():
        return
    run = run_folder(config.run)
    losses = [record["loss"] for record in read_metrics(run, "train")]
    picture = draw_losses(run, chance_loss(config.objective, held_out.spec))
    print_once(f"\nloss  {spark_line(losses)}   {picture}")
    if jax.process_count() == 1:
        if isinstance(config.objective, MaskedLM) and isinstance(held_out, RowReader):
            print_once(f"\n{show_predictions(state.evaluated, held_out)}")
        if isinstance(config.objective, CausalLM) and isinstance(held_out, RowReader):
            prefix = config.objective.prefix
            print_once(f"\n{show_continuation(state.evaluated, held_out, prefix=prefix)}")
        if isinstance(config.data, Images):
            some = open_subset(config.data, "valid", SEARCHED)
            for path in draw_pictures(run, config.objective, state.evaluated, state.carried, some):
                print_once(f"picture: {path}")
    print_once(f"\nthe checkpoint is in {config.run}/checkpoints")
    for line in next_commands(config, state.model, held_out.spec):
        print_once(line)
