"""Pretrains a model from text or images, raw or prepared: the whole run, top to bottom.

    python train.py --config configs/quickstart.py
    python train.py --config configs/bert_small.py --data.path prepared/novels --run runs/novels

The same command resumes a run, bitwise as if it had never stopped. Ctrl-C and SIGTERM save the state and end
the run. Prepared sets and runs may be on object stores: --data.path s3://…, --run s3://….
"""

import sys

import jax

from jaxssl.runs.checkpoint import Checkpoints, identity, write_run
from jaxssl.runs.hosts import check_hosts_agree, print_once
from jaxssl.runs.mirror import mirrored
from jaxssl.runs.signals import StopRequest
from jaxssl.runs.supervisor import is_supervisor, supervise
from jaxssl.sharding.mesh import batch_sharding, rows_of_hosts
from jaxssl.tools.errors import one_line_errors
from jaxssl.training.begin import begin
from jaxssl.training.config import Pretraining, read_config
from jaxssl.training.evaluation import evaluate
from jaxssl.training.messages import announce, conclude
from jaxssl.training.metrics import training_report
from jaxssl.training.online_probe import make_online_probe
from jaxssl.training.prepare_once import prepare_once
from jaxssl.training.step import abstract_state, make_evaluation, make_step, place_batch


def run(config: Pretraining) -> None:
    """Runs a pretraining. A run folder on an object store is kept on this machine and copied there."""
    config.hosts.start()
    with mirrored(config.run):
        train(config)


def train(config: Pretraining) -> None:
    """Trains from the state that was saved last, or a new one, to the last checkpoint."""
    hosts = {"host": jax.process_index(), "hosts": jax.process_count()}
    prepare_once(config, **hosts)
    mesh = config.mesh.make()
    mine = rows_of_hosts(mesh, config.data.batch)[jax.process_index()]
    rows = config.data.open("train", seed=config.seed, parts=mine)
    held_out = config.data.open("valid", seed=config.seed, shuffle=False, sampled=True, parts=mine)
    objective, optimizer = config.objective, config.optimizer.make(config.steps)

    wanted = abstract_state(config, optimizer, rows.spec, mesh)
    check_hosts_agree(identity(config, rows.fingerprint))
    changed = write_run(config.run, config, rows)
    checkpoints = Checkpoints(config.run, config.keep)
    state = checkpoints.restore_latest(wanted) or begin(config, optimizer, rows, mesh)
    start = int(state.step)
    train_step = make_step(config, optimizer, rows.spec, mesh)
    evaluate_batch = make_evaluation(objective, rows.spec, mesh, seed=config.seed)
    probe = make_online_probe(config)
    announce(config, state, rows, held_out, mesh, changed)

    sharding = batch_sharding(mesh)
    report = training_report(config, rows, start=start)
    with report, checkpoints, StopRequest() as stop, config.watch(start, **hosts) as watch:
        for step in range(start, config.steps):
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
            if done % config.save_every == 0 or is_last or stopping:
                report.tell()  # a step that is no number is found before it is saved
                checkpoints.save(state, scores)
            if stopping:
                print_once(f"{stop.reason}: saved step {done}; the same command goes on from there")
                return
    conclude(config, state, held_out)


if __name__ == "__main__":
    with one_line_errors():
        config = read_config(Pretraining, __doc__ or "")
        if is_supervisor(config.restarts):
            sys.exit(supervise(config.restarts))
        run(config)
