"""The objective of docs/write_an_objective.md, from one file outside the package, through a whole run."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import finetune
import train
from jaxssl.data.rows import Rows
from jaxssl.errors import InputError
from jaxssl.planning.plan import make_plan
from jaxssl.planning.targets import read_target
from jaxssl.pretrained.load import load_pretrained
from jaxssl.pretrained.texts import load_embedder
from jaxssl.runs.checkpoint import digest
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.config import Pretraining, read_config
from jaxssl.training.loss_picture import read_metrics
from tests.data.tiny_corpus import ENVIRONMENT
from tests.shrink import OneDevice, prepare_words, shrink_objective
from tests.test_finetune import small

pytestmark = pytest.mark.slow  # whole runs, each compiled

GUIDE = Path("docs/write_an_objective.md").read_text(encoding="utf-8")
CODE = GUIDE.split("```python\n")[1].split("```")[0]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "swapped_tokens.py"
    path.write_text(CODE, encoding="utf-8")
    yield path
    sys.modules.pop("swapped_tokens", None)


@pytest.fixture(scope="module")
def recipe(file, tmp_path_factory):
    """The recipe of the guide, shrunk."""
    rows = prepare_words(tmp_path_factory.mktemp("words"))
    config = read_config(Pretraining, "", ["--config", str(file), "--data.path", rows])
    objective = shrink_objective(config.objective)
    encoder = dataclasses.replace(objective.encoder, dropout=0.0)
    return dataclasses.replace(
        config,
        data=Rows(rows, batch=16),
        objective=dataclasses.replace(objective, encoder=encoder),
        mesh=Mesh(data=4, fsdp=2),
        steps=4,
        report_every=1,
        evaluate_every=2,
        save_every=2,
    )


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    config = dataclasses.replace(recipe, run=str(tmp_path_factory.mktemp("run") / "own"))
    train.run(config)
    return config.run


def losses_of(run):
    return [record["loss"] for record in read_metrics(Path(run), "train")]


def test_the_guide_is_short():
    lines = [line for line in CODE.splitlines() if line.strip()]
    assert len(lines) < 60


def test_it_trains_and_evaluates(run):
    assert np.isfinite(losses_of(run)).all()
    assert [record["step"] for record in read_metrics(Path(run), "valid")] == [2, 4]
    described = json.loads(Path(run, "config.json").read_text())["config"]["objective"]
    assert described["class"] == "swapped_tokens:SwappedTokens"
    assert described["defined_in"].endswith("swapped_tokens.py")


def test_it_resumes_bitwise(recipe, run, tmp_path):
    config = dataclasses.replace(recipe, run=str(tmp_path / "two"), steps=2)
    train.run(config)
    train.run(dataclasses.replace(config, steps=4))
    assert digest(load_pretrained(config.run, which="latest").model) == digest(
        load_pretrained(run, which="latest").model
    )


def test_its_loss_on_eight_devices_is_that_of_one(recipe, run, tmp_path):
    """In two microbatches on one device; without dropout, whose bits every microbatch draws anew."""
    assert jax.device_count() == 8
    config = dataclasses.replace(
        recipe, run=str(tmp_path / "one"), mesh=OneDevice(), microbatches=2
    )
    train.run(config)
    np.testing.assert_allclose(losses_of(config.run), losses_of(run), rtol=1e-5)


def test_it_is_planned(recipe):
    config = dataclasses.replace(recipe, mesh=Mesh())
    plan = make_plan(config, read_target("cpu:8"), length=32, vocab_size=64)
    assert plan.counts.parameters > 1000
    assert plan.counts.flops > 1e6


def test_it_is_embedded(run):
    vectors = load_embedder(run)(["red blue", "green"])
    assert vectors.shape == (2, 32)
    assert np.isfinite(vectors).all()


def test_it_is_finetuned(run, tmp_path):
    summary = finetune.run(small(run, tmp_path / "task"))
    assert 0 <= summary["mean"]["test"]["accuracy"] <= 1


def test_another_process_runs_the_file_only_if_it_is_named(file, run, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("red blue\ngreen\n")
    command = [sys.executable, "-m", "jaxssl.tools.main", "embed", run, str(texts)]
    command += ["--into", str(tmp_path / "vectors.npy")]
    refused, done = (
        subprocess.run(command + more, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        for more in ([], ["--code", str(file)])
    )
    assert refused.returncode == 2
    assert f"--code {file}" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "vectors.npy").shape == (2, 32)


def test_an_objective_without_a_network_says_so(recipe):
    class Bare(type(recipe.objective)):
        pass

    with pytest.raises(InputError, match="Bare has no network .* `network"):
        Bare(recipe.objective.encoder).network({"table": 0})
