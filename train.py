"""Pretrains a model from text or images, raw or prepared: the whole run, top to bottom.

    python train.py --config configs/quickstart.py
    python train.py --config configs/bert_small.py --data.path prepared/novels --run runs/novels

The same command resumes a run, bitwise as if it had never stopped. Ctrl-C and SIGTERM save the state and end
the run with exit code 77; with 0 all steps are done (`jaxssl --help` has all codes). Prepared sets and runs
may be on object stores: --data.path s3://…, --run s3://….
"""

import sys

import jax

from jaxssl.exit_codes import ExitCode
from jaxssl.runs.checkpoint import Checkpoints
from jaxssl.runs.hosts import check_hosts_agree, print_once, together
from jaxssl.runs.mirror import mirrored
from jaxssl.runs.resume import check_resume, identity, write_run
from jaxssl.runs.signals import StopRequest
from jaxssl.runs.stored_runs import run_folder
from jaxssl.runs.supervisor import end_with_supervisor, is_supervisor, supervise
from jaxssl.runs.watch import Watch
from jaxssl.sharding.mesh import batch_sharding, rows_of_hosts
from jaxssl.tools.errors import one_line_errors
from jaxssl.tools.output_files import check_output_folder
from jaxssl.training.begin import begin, resume
from jaxssl.training.config import Pretraining, read_config
from jaxssl.training.evaluation import check_best, evaluate
from jaxssl.training.exports import Exports, export_best
from jaxssl.training.finite import check_finite
from jaxssl.training.messages import announce, conclude
from jaxssl.training.metrics import training_report
from jaxssl.training.online_probe import make_online_probe
from jaxssl.training.prepare_once import prepare_once
from jaxssl.training.profiling import Profile
from jaxssl.training.step import (
    abstract_batch,
    abstract_state,
    make_evaluation,
    make_step,
    place_batch,
)


def run(config: Pretraining) -> bool:
    """Runs a pretraining and returns whether all steps are done.

    A run folder on an object store is kept on this machine and copied there.
    """
    config.hosts.start()
    hosts = {"host": jax.process_index(), "hosts": jax.process_count()}
    with mirrored(config.run), config.watch(**hosts) as watch:
        prepare_once(config, **hosts)
        is_done = train(config, watch)
        if is_done:
            export_best(config)
        return is_done


def train(config: Pretraining, watch: Watch) -> bool:
    """Trains from the state that was saved last, or a new one, to the last checkpoint, or until a signal."""
    with together():
        mesh = config.mesh.make()
        mine = rows_of_hosts(mesh, config.data.batch)[jax.process_index()]
        order = {"seed": config.seed, "parts": mine}
        rows = config.data.open("train", **order)
        held_out = config.data.open("valid", **order, shuffle=False, sampled=True)
    objective = config.objective.for_run(config.steps)
    optimizer, exports = config.optimizer.make(config.steps), Exports(config, rows)

    wanted = abstract_state(config, optimizer, rows.spec, mesh)
    check_hosts_agree(identity(config, rows.fingerprint))
    changed = check_resume(config.run, config, rows)
    evaluate_batch = make_evaluation(objective, rows.spec, mesh, seed=config.seed)
    probe = make_online_probe(config)
    check_best(config, evaluate_batch, wanted, abstract_batch(rows.spec, mesh))
    checkpoints = Checkpoints(config.run, config.keep, verify=config.verify)
    state = resume(checkpoints, wanted, changed) or begin(config, optimizer, rows, mesh)
    start = int(state.step)
    train_step = make_step(config, optimizer, rows.spec, mesh)
    write_run(config.run, config, rows)  # only what was accepted
    announce(config, state, rows, held_out, mesh, changed)

    report = training_report(config, rows, start=start)
    trace, sharding = Profile(config.profile, run_folder(config.run)), batch_sharding(mesh)
    with StopRequest(checkpoints.folder) as stop, watch.training(start), report, checkpoints, trace:
        for step in range(start, config.steps):
            trace.at(step, state)
            with report.input():
                batch = place_batch(rows.batch(step), sharding)
            state, metrics = train_step(state, batch)
            report.step(step, metrics)  # reads from the device only where a line is due
            done, is_last, scores = step + 1, step + 1 == config.steps, None
            watch.step, stopping = done, stop.after(done)
            if done % config.evaluate_every == 0 or is_last:
                report.tell()
                sums = evaluate(state, held_out, evaluate_batch, mesh, config.evaluate_batches)
                scores = report.evaluation(done, sums, probe(state), of=held_out.batches)
            exports.after(done, state)
            is_due = done % config.save_every == 0 or is_last or stopping
            if is_due or checkpoints.is_best(scores):
                report.tell()  # a step that is no number is found before it is saved
                check_finite(state, checkpoints.folder)
                checkpoints.save(state, scores)
            if stopping:
                break
    if (done := int(state.step)) < config.steps:
        print_once(f"{stop.reason}: saved step {done}; the same command goes on from there")
        return False
    conclude(config, state, held_out)
    return True


if __name__ == "__main__":
    with one_line_errors():
        config = read_config(Pretraining, __doc__ or "")
        check_output_folder(config.run, "--run")
        if is_supervisor(config.restarts):
            sys.exit(supervise(config.restarts))
        end_with_supervisor()
        if not run(config):
            sys.exit(ExitCode.SAVED_NOT_FINISHED)
