"""The real run, shrunk: every recipe, resuming, stopping, a loss that is no number, bad input."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

import train
from jaxssl.errors import InputError
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.checkpoint import Checkpoints, Keep, digest
from jaxssl.runs.resume import check_resume
from jaxssl.training.config import Pretraining, load_config
from jaxssl.training.flops import step_flops
from jaxssl.training.loss_picture import read_metrics
from jaxssl.training.step import abstract_state
from tests.data.tiny_corpus import ENVIRONMENT
from tests.shrink import OneDevice, prepare_words, shrink

RECIPES = sorted(
    path
    for path in Path("configs").glob("*.py")
    if "Pretraining(" in path.read_text(encoding="utf-8")
)
# NAME.json: twenty losses of the shrunk recipe of that name; WRITE_GOLDEN=1 writes what is there anew.
GOLDEN = Path("tests/golden")
TRAINED = [path for path in RECIPES if (GOLDEN / f"{path.stem}.json").exists()]
KINDS = ("quickstart", "skip_gram_novels")  # gpt2_tiny: resumed below; images: test_train_images.py
TWINS = [path for path in RECIPES if path not in TRAINED]  # of a recipe that is trained
QUICK, GPT, ELECTRA = (
    f"configs/{name}.py" for name in ("quickstart", "gpt2_tiny", "electra_small")
)


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    return prepare_words(tmp_path_factory.mktemp("words"))


def state_digest(run):
    with Checkpoints(run, read_only=True) as checkpoints:
        step = checkpoints.manager.latest_step()
        wanted = ocp.args.Composite(state=ocp.args.StandardRestore())
        return step, digest(checkpoints.manager.restore(step, args=wanted)["state"])


def marks_of(path):
    """A few kinds of objectives are quick tests; the others are slow."""
    return () if path.stem in KINDS else pytest.mark.slow


def marks_of_twin(path):
    """Of the large ResNets, which take seconds to trace, one is a quick test."""
    is_slow = "resnet50" in path.stem and path.stem != "byol_resnet50_imagenet"
    return pytest.mark.slow if is_slow else ()


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=marks_of_twin(path)) for path in TWINS]
)
def test_a_recipe_like_another_has_shapes_that_fit(path):
    """At its full size, without computing anything; a recipe of the same objective is trained below."""
    config = load_config(path, Pretraining)
    spec, _ = assumed_rows(config)
    state = abstract_state(config, config.optimizer.make(config.steps), spec, OneDevice().make())
    assert all(leaf.shape is not None for leaf in jax.tree.leaves(state.model))
    assert step_flops(config.objective, spec).total > 1e6


def test_every_objective_is_trained():
    trained = {type(load_config(path, Pretraining).objective) for path in TRAINED}
    assert trained == {type(load_config(path, Pretraining).objective) for path in RECIPES}


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=marks_of(path)) for path in TRAINED]
)
def test_every_objective_of_the_recipes_runs(path, rows, tmp_path, capsys):
    """Twenty steps of a shrunk recipe, whose losses a refactoring must not move (relative 2e-4)."""
    steps = 20
    config = shrink(
        path, rows, tmp_path / "run", steps=steps, evaluate_every=steps, save_every=steps
    )
    if path.stem == "simcse_novels":  # at 0.05 the loss is what is left of two numbers of 20
        config = dataclasses.replace(
            config, objective=dataclasses.replace(config.objective, temperature=1.0)
        )
    train.run(config)
    assert f"step {steps:>7} of {steps}" in capsys.readouterr().out
    assert (tmp_path / "run" / "loss.png").stat().st_size > 1000
    records = read_metrics(tmp_path / "run", "valid")
    assert records[-1]["step"] == steps
    assert np.isfinite(records[-1]["loss"])
    pretrained = load_pretrained(tmp_path / "run")
    assert pretrained.step == steps
    assert pretrained.objective == config.objective
    losses = [record["loss"] for record in read_metrics(tmp_path / "run", "train")]
    kept = GOLDEN / f"{path.stem}.json"
    if os.environ.get("WRITE_GOLDEN"):
        kept.write_text(json.dumps(losses, indent=1) + "\n", encoding="utf-8")
    np.testing.assert_allclose(losses, json.loads(kept.read_text(encoding="utf-8")), rtol=2e-4)


@pytest.mark.parametrize(
    "path", [GPT, *(pytest.param(path, marks=pytest.mark.slow) for path in (QUICK, ELECTRA))]
)
def test_a_resumed_run_is_bitwise_the_same(path, rows, tmp_path):
    whole = shrink(path, rows, tmp_path / "whole", steps=6, average=0.9)
    train.run(whole)
    run = tmp_path / "parts"
    part = dataclasses.replace(whole, run=str(run), save_every=3)
    stop_after(3, part)
    assert state_digest(run)[0] == 3
    train.run(part)
    assert state_digest(run) == state_digest(tmp_path / "whole")


def stop_after(step, config):
    """Runs until the step is done, then the way a SIGTERM ends it."""
    before = train.place_batch
    count = 0

    def counted(*arguments):
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return before(*arguments)

    train.place_batch = counted
    try:
        return train.run(config)
    finally:
        train.place_batch = before


@pytest.mark.slow
def test_sigterm_saves_and_leaves(rows, tmp_path, capsys):
    config = shrink(QUICK, rows, tmp_path / "run", steps=50, save_every=50)
    assert not stop_after(4, config)  # steps are left
    assert "SIGTERM: saved step 4" in capsys.readouterr().out
    assert state_digest(tmp_path / "run")[0] == 4


@pytest.mark.slow
@pytest.mark.parametrize("save_every", [1, 99])
def test_latest_and_best_are_kept(rows, tmp_path, save_every):
    """A step that is evaluated counts for the best even where it is none that is saved anyway."""
    often = {"steps": 5, "evaluate_every": 1, "save_every": save_every}
    config = shrink(QUICK, rows, tmp_path / "run", keep=Keep(latest=1), **often)
    config = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, peak=5.0, warmup=0, clip=0.0)
    )
    train.run(config)
    losses = {r["step"]: r["loss"] for r in read_metrics(tmp_path / "run", "valid")}
    best = min(losses, key=lambda step: losses[step])
    with Checkpoints(config.run, config.keep, read_only=True) as checkpoints:
        assert sorted(checkpoints.manager.all_steps()) == sorted({best, 5})
    assert load_pretrained(config.run).step == best
    assert load_pretrained(config.run, which="latest").step == 5


@pytest.mark.slow
def test_a_loss_that_is_no_number_names_step_and_rows(rows, tmp_path):
    config = shrink(QUICK, rows, tmp_path / "run", steps=40, save_every=2, report_every=4)
    train.run(dataclasses.replace(config, steps=2))
    broken = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, peak=1e38, warmup=0)
    )
    with pytest.raises(
        InputError, match=r"is (nan|inf) at step \d+, of rows \d+.*words 0#"
    ) as told:
        train.run(broken)
    assert "the optimizer's peak" in str(told.value)
    assert load_pretrained(tmp_path / "run").step == 2


def test_what_a_resume_refuses_leaves_the_run_as_it_was(rows, tmp_path):
    config = shrink(QUICK, rows, tmp_path / "run")
    train.run(config)
    wider = dataclasses.replace(config.objective.encoder, width=64)
    other = dataclasses.replace(
        config, objective=dataclasses.replace(config.objective, encoder=wider)
    )
    before = (tmp_path / "run" / "config.json").read_bytes()
    for changed, message in (
        (other, "objective.encoder.width=64, was 32"),
        (dataclasses.replace(config, seed=7), "seed=7, was 0"),
        (dataclasses.replace(config, average=0.9), "average=0.9, was None"),
        (
            dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, clip=0.0)),
            r"another shape: .*; changed since the run began: optimizer.clip: 1.0 -> 0.0",
        ),
        (dataclasses.replace(config, keep=Keep(best="accurracy")), "keep.best='accurracy' is no"),
    ):
        with pytest.raises(InputError, match=message):
            train.run(changed)
        assert (tmp_path / "run" / "config.json").read_bytes() == before
    record = json.loads(before)
    del record["config"]["objective"]["span_limit"]  # as an older version would have written it
    (tmp_path / "run" / "config.json").write_text(json.dumps(record), encoding="utf-8")
    assert check_resume(config.run, config, SimpleNamespace(fingerprint=record["data"])) == []


def test_a_refused_start_leaves_no_folder(rows, tmp_path):
    config = shrink(QUICK, rows, tmp_path / "run", start=str(tmp_path / "gone"))
    with pytest.raises(InputError, match="gone is no run"):
        train.run(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_state_that_is_not_finite_is_never_saved(rows, tmp_path):
    """The metrics of the last step before a checkpoint are finite, and its update is not."""
    config = shrink(QUICK, rows, tmp_path / "run", steps=4, save_every=1, evaluate_every=4)
    train.run(dataclasses.replace(config, steps=2))
    broken = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, peak=1e38, decay=1e38, warmup=0)
    )
    with pytest.raises(InputError, match="is not finite after step 3, which is not saved") as told:
        train.run(broken)
    assert "the last checkpoint, of step 2, is from before" in str(told.value)
    assert state_digest(tmp_path / "run")[0] == 2


@pytest.mark.slow
def test_a_saved_step_that_is_not_finite_names_the_one_before(rows, tmp_path):
    """As an earlier version may have saved it; the proposed command works."""
    config = shrink(QUICK, rows, tmp_path / "run", steps=2, save_every=1)
    train.run(config)
    with Checkpoints(config.run, config.keep) as checkpoints:
        wanted = abstract_state(
            config,
            config.optimizer.make(2),
            config.data.open("train", seed=0).spec,
            OneDevice().make(),
        )
        state = checkpoints.restore_latest(wanted)
        model = jax.tree.map(lambda leaf: leaf * np.nan, state.model)
        checkpoints.save(dataclasses.replace(state, step=state.step + 1, model=model))
    more = dataclasses.replace(config, steps=4)
    with pytest.raises(
        InputError, match=r"checkpoints/3 cannot be gone on from: model/.* is not"
    ) as told:
        train.run(more)
    _, source, target = str(told.value).partition("move the other away: ")[2].split()
    Path(source).rename(target)
    train.run(more)
    assert state_digest(tmp_path / "run")[0] == 4


def test_rows_longer_than_the_model(rows, tmp_path):
    config = shrink(QUICK, rows, tmp_path / "run")
    short = dataclasses.replace(config.objective.encoder, max_length=16)
    config = dataclasses.replace(
        config, objective=dataclasses.replace(config.objective, encoder=short)
    )
    with pytest.raises(InputError, match="rows of 32 tokens exceed max_length 16"):
        train.run(config)


def test_the_command_ends_with_one_line_and_code_2(tmp_path):
    for flags, line in (
        (["--data.path", str(tmp_path / "none")], "jaxssl prepare"),
        (["--optimizer.peek", "3"], "there is no field --optimizer.peek"),
    ):
        done = subprocess.run(
            [sys.executable, "train.py", "--config", GPT, *flags],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("error: ")
        assert line in done.stderr


@pytest.mark.slow
def test_killed_at_random_moments(rows, tmp_path):
    """SIGKILL at random moments (ten with JAXSSL_THOROUGH): the parameters of an undisturbed run, bitwise."""
    kills_wanted = 10 if "JAXSSL_THOROUGH" in os.environ else 3
    steps = 60 * kills_wanted
    rare = {"steps": steps, "save_every": 4, "evaluate_every": 200}
    undisturbed = shrink(QUICK, rows, tmp_path / "whole", **rare)
    code = (
        "import sys, pathlib; import train; from tests.shrink import shrink;"
        f"train.run(shrink({QUICK!r}, {rows!r}, pathlib.Path(sys.argv[1]), **{rare!r}))"
    )
    environment = {**ENVIRONMENT, "XLA_FLAGS": os.environ["XLA_FLAGS"]}
    command = [sys.executable, "-c", code]
    subprocess.run([*command, undisturbed.run], env=environment, check=True, capture_output=True)
    random = np.random.default_rng(0)
    run = tmp_path / "killed"
    kills = 0
    while kills < kills_wanted:
        process = subprocess.Popen(
            [*command, str(run)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        metrics = run / "metrics.jsonl"
        size = metrics.stat().st_size if metrics.exists() else 0
        while process.poll() is None and (not metrics.exists() or metrics.stat().st_size <= size):
            time.sleep(0.02)  # until its first step is told of
        time.sleep(random.uniform(0, 0.15))
        assert process.poll() is None, f"the run was over after {kills} kills"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([*command, str(run)], env=environment, check=True, capture_output=True)
    assert state_digest(run) == state_digest(undisturbed.run)
