"""Finetunes a pretrained network on labelled texts: all seeds, top to bottom.

    python finetune.py --config configs/finetune_quickstart.py
    python finetune.py --config configs/finetune_sst2.py --task.checkpoint runs/x --seeds 0 1 2
    python finetune.py --config configs/finetune_sst2.py --task.checkpoint runs/x --from-scratch

The checkpoint with the best metric on dev is kept and scored on test. The same command resumes where it was
stopped, and does not repeat a seed that is finished. Stopped by Ctrl-C or SIGTERM it ends with exit code 77.
"""

import sys
from pathlib import Path
from typing import Any

from jaxssl.data.labelled.texts import open_labelled
from jaxssl.data.stores.json_files import write_json
from jaxssl.exit_codes import ExitCode
from jaxssl.finetuning.report import announce, as_sums, draw_curve, seed_report
from jaxssl.finetuning.results import (
    Result,
    begin_run,
    read_result,
    show_scores,
    show_summary,
    summarise,
    write_predictions,
)
from jaxssl.finetuning.setup import Finetuning, Setup, replicated, score
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.checkpoint import Checkpoints
from jaxssl.runs.mirror import mirrored
from jaxssl.runs.signals import StopRequest
from jaxssl.tasks.classify import network_and_pooler
from jaxssl.tools.errors import one_line_errors
from jaxssl.tools.output_files import check_output_folder
from jaxssl.training.config import read_config
from jaxssl.training.finite import check_finite


def run(config: Finetuning) -> dict[str, Any]:
    """Runs a finetuning and returns its summary, or {} if it was asked to stop.

    A folder on an object store is kept on this machine and copied there.
    """
    with mirrored(config.run, finetuning=True):
        return run_seeds(config)


def run_seeds(config: Finetuning) -> dict[str, Any]:
    """Trains and scores all seeds; returns their mean and standard deviation, {} if asked to stop."""
    mesh = config.mesh.make()
    pretrained = load_pretrained(config.task.checkpoint, sharding=replicated(mesh))
    network = config.task.network(pretrained.objective.finetuning_config(pretrained.model))
    data = open_labelled(config.data, pretrained.tokenizer, network.max_length)
    setup = Setup.of(config, data, network, pretrained.tokenizer, mesh)  # compiled once
    begin_run(config, data, network, pretrained)  # writes, so all checks come before
    announce(setup, pretrained)

    results = []
    for seed in config.seeds:
        learned = (
            None
            if config.from_scratch
            else network_and_pooler(pretrained.objective, pretrained.model)
        )
        result = run_seed(config, setup, seed, learned)
        if result is None:
            return {}
        results.append(result)
    summary = {"labels": data.names, **summarise(results, config.metric)}
    if len(data.names) == 2:
        summary["positive"] = data.names[setup.positive]  # the class that f1 is of
    write_json(config.folder / "results.json", summary)
    print(f"\n{show_summary(summary)}\n{config.folder}/results.json has all of it")
    return summary


def run_seed(config: Finetuning, setup: Setup, seed: int, pretrained: Any) -> Result | None:
    """Trains one seed and returns its scores, or None if it was asked to stop."""
    folder = config.folder / f"seed-{seed}"
    if (finished := read_result(folder)) is not None:
        print(f"seed {seed} is finished already")
        return finished
    train, dev = setup.training(seed), setup.in_order("dev")
    state = setup.create(seed, pretrained)
    checkpoints = Checkpoints(folder, setup.keep)
    state = checkpoints.restore_latest(state) or state
    start = int(state.step)
    report = seed_report(setup, train, folder, start)
    with StopRequest(checkpoints.folder) as stop, report, checkpoints:
        for step in range(start, setup.plan.steps):
            state, metrics = setup.step(state, train.batch(step), seed)
            report.step(step, metrics)  # reads from the device only where a line is due
            done, scores = step + 1, None
            if is_due := setup.plan.evaluates(done):
                report.tell()
                found = setup.predict(state.model, dev)
                scores = score(found, dev.examples.labels, setup.positive)
                report.evaluation(done, as_sums(scores))
            stopping = stop.after(done)
            if is_due or stopping:
                report.tell()
                check_finite(state, checkpoints.folder)
                checkpoints.save(state, scores)
            if stopping:
                print(f"{stop.reason}: saved step {done}; the same command goes on from there")
                return None
        best, model = checkpoints.restore_best_model(state.model)
    return conclude_seed(setup, folder, seed, best, model)


def conclude_seed(setup: Setup, folder: Path, seed: int, best: int, model: Any) -> Result:
    """Scores the best model on dev and, where there is one, test; writes its predictions and its curve."""
    result: Result = {"seed": seed, "best_step": best, "steps": setup.plan.steps}
    for split in ("dev", "test"):
        if split in setup.data.tables:
            batches = setup.in_order(split)
            found = setup.predict(model, batches)
            result[split] = score(found, batches.examples.labels, setup.positive)
            table, names = setup.data.tables[split], setup.data.names
            write_predictions(folder / "predictions.tsv", table, names, found)
            shown = show_scores(result[split], names[setup.positive])
            print(f"seed {seed}, step {best:,}, {split}: {shown}", flush=True)
    write_json(folder / "result.json", result)
    print(draw_curve(setup, folder), flush=True)
    return result


if __name__ == "__main__":
    with one_line_errors():
        config = read_config(Finetuning, __doc__ or "")
        check_output_folder(config.run, "--run")
        if not run(config):
            sys.exit(ExitCode.SAVED_NOT_FINISHED)
