"""The real finetuning, shrunk: every recipe, what it leaves, resuming, learning, bad input."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import finetune
import train
from jaxssl.data.labelled.tables import Labelled
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from jaxssl.finetuning.finetuned import load_finetuned
from jaxssl.finetuning.setup import Finetuning
from jaxssl.optimizers.recipes import AdamW
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.checkpoint import digest
from jaxssl.sharding.mesh import Mesh
from jaxssl.tasks.classify import Classify
from jaxssl.training.config import load_config
from jaxssl.training.loss_picture import read_metrics
from tests.data.tiny_corpus import ENVIRONMENT, SPECIALS, WORDS
from tests.quick_programs import xla_flags
from tests.shrink import OneDevice, prepare_words, shrink

RECIPES = sorted(Path("configs").glob("finetune_*.py"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A pretrained BERT with pairs, of 2 steps."""
    folder = tmp_path_factory.mktemp("pretrained")
    config = shrink("configs/quickstart.py", prepare_words(folder), folder / "run")
    train.run(config)
    return config.run


@pytest.fixture(scope="session")
def decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    config = shrink("configs/gpt2_tiny.py", prepare_words(folder), folder / "run")
    train.run(config)
    return config.run


def write_examples(path, count=48, seed=0, columns=("sentence", "label"), labels=("no", "yes")):
    """Texts of random words; the second label where the first word of the vocabulary occurs."""
    random = np.random.default_rng(seed)
    lines = ["\t".join(columns)]
    for number in range(count):
        words = list(random.choice(WORDS[1:], random.integers(2, 12)))
        words[random.integers(len(words))] = WORDS[0] if number % 2 else WORDS[1]
        lines.append(f"{' '.join(words)}\t{labels[number % 2]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def small(checkpoint, folder, **changes):
    """A finetuning of a few seconds on texts that have a word or have it not."""
    folder.mkdir(exist_ok=True)
    data = Labelled(
        write_examples(folder / "train.tsv", count=400),
        dev=write_examples(folder / "dev.tsv", seed=1, count=20),
        test=write_examples(folder / "test.tsv", seed=2, count=20),
        text="sentence",
        train_examples=48,
        length=16,
        buckets=1,
    )
    fields = {
        "data": data,
        "task": Classify(checkpoint),
        "optimizer": AdamW(peak=3e-3, warmup=0),
        "mesh": OneDevice(),
        "batch": 16,
        "steps": 4,
        "evaluate_every": 2,
        "evaluate_batch": 16,
        "report_every": 2,
        "run": str(folder / "run"),
    }
    return Finetuning(**{**fields, **changes})


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=() if path.stem == "finetune_quickstart" else pytest.mark.slow)
        for path in RECIPES
    ],
    ids=lambda path: path.stem,
)
def test_every_recipe_takes_two_steps(path, checkpoint, tmp_path, capsys):
    config = load_config(path, Finetuning)
    data = config.data
    if data.train != "stdlib":  # the files of the recipe need not be here
        columns = (data.text, data.label)
        files = {
            split: write_examples(tmp_path / f"{split}.tsv", columns=columns)
            for split in ("train", "dev", "test")
            if isinstance(getattr(data, split), str)
        }
        data = dataclasses.replace(data, **files, dev_examples=None)
    else:
        data = dataclasses.replace(data, dev=0.05, test=0.05)
    data = dataclasses.replace(data, train_examples=32, length=16, buckets=1)
    task = dataclasses.replace(config.task, checkpoint=checkpoint)
    changes = {"steps": 2, "batch": 16, "evaluate_batch": 64, "seeds": (0,), "mesh": OneDevice()}
    config = dataclasses.replace(config, data=data, task=task, run=str(tmp_path / "run"), **changes)
    summary = finetune.run(config)
    printed = capsys.readouterr().out
    assert "step       2 of 2" in printed
    assert "loss.png" in printed
    assert "±" not in printed  # of one seed there is no deviation
    cut = f"warning: optimizer.warmup={config.optimizer.warmup} is cut to 1" in printed
    assert cut == (config.optimizer.warmup > 1)  # more than the two steps have
    assert summary["seeds"][0]["steps"] == 2
    assert 0 <= summary["mean"]["test"]["accuracy"] <= 1


@pytest.mark.slow
def test_learns_a_word_from_scratch_with_several_seeds(checkpoint, tmp_path, capsys):
    config = small(
        checkpoint, tmp_path, steps=0, epochs=6, evaluate_every=50, seeds=(0, 3), from_scratch=True
    )
    data = dataclasses.replace(config.data, train_examples=None, buckets=2)
    config = dataclasses.replace(config, data=data, report_every=50)
    summary = finetune.run(config)
    assert summary["mean"]["test"]["accuracy"] > 0.9
    assert [result["seed"] for result in summary["seeds"]] == [0, 3]
    scores = [result["test"]["accuracy"] for result in summary["seeds"]]
    assert summary["mean"]["test"]["accuracy"] == pytest.approx(np.mean(scores))
    assert summary["deviation"]["test"]["accuracy"] == pytest.approx(np.std(scores, ddof=1))
    assert "2 seeds, best by accuracy on dev" in capsys.readouterr().out
    written = json.loads((config.folder / "results.json").read_text(encoding="utf-8"))
    assert written["mean"] == summary["mean"]
    assert written["labels"] == ["no", "yes"]


def test_the_best_checkpoint_is_scored_and_its_predictions_written(checkpoint, tmp_path, capsys):
    config = small(checkpoint, tmp_path, steps=12, metric="loss")
    with (tmp_path / "train.tsv").open("a", encoding="utf-8") as file:
        file.write(f"{WORDS[0]}\tNA\n")
    summary = finetune.run(config)
    result, printed = summary["seeds"][0], capsys.readouterr().out
    assert "left out: 1 with the label NA (first: " in printed
    assert "always no is right in 50.0% of dev; f1 is that of yes" in printed
    assert "f1 of yes 0." in printed or "f1 of yes 1." in printed
    assert summary["positive"] == "yes"
    folder = config.folder / "seed-0"
    told = {record["step"]: record["loss"] for record in read_metrics(folder, "valid")}
    assert result["best_step"] == min(told, key=lambda step: told[step])
    assert result["dev"]["loss"] == pytest.approx(min(told.values()), rel=1e-5)
    with (folder / "predictions.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert list(rows[0]) == ["text", "label", "predicted", "probability_no", "probability_yes"]
    assert len(rows) == 20
    right = [row["label"] == row["predicted"] for row in rows]
    assert np.mean(right) == pytest.approx(result["test"]["accuracy"])
    for row in rows:
        likely = max("no", "yes", key=lambda name: float(row[f"probability_{name}"]))
        assert row["predicted"] == likely
    assert list((folder / "tensorboard").iterdir())
    assert (folder / "loss.png").stat().st_size > 1000
    loaded = load_finetuned(config.folder)
    assert (loaded.seed, loaded.step) == (0, result["best_step"])
    texts = [row["text"] for row in rows]
    assert loaded.predict(texts) == [row["predicted"] for row in rows]
    chances = np.exp(loaded.log_probabilities(texts, batch=7))
    written = [[float(row["probability_no"]), float(row["probability_yes"])] for row in rows]
    np.testing.assert_allclose(chances, written, atol=2e-6)


@pytest.mark.slow
def test_what_cannot_be_loaded_says_why(checkpoint, tmp_path):
    config = small(checkpoint, tmp_path)
    with pytest.raises(InputError, match="is no finetuning: it has no finetuning.json"):
        load_finetuned(config.folder)
    finetune.run(config)
    with pytest.raises(InputError, match=r"did you mean .*pretrained\?"):
        load_finetuned(config.run)
    with pytest.raises(InputError, match="seed 5 of .* is not finished"):
        load_finetuned(config.folder, seed=5)
    with pytest.raises(InputError, match="finetuned on single texts"):
        load_finetuned(config.folder).predict(["a"], ["b"])


@pytest.mark.slow
def test_pretrained_and_scratch_begin_apart_and_a_decoder_takes_its_last_state(
    checkpoint, decoder, tmp_path
):
    losses = []
    for name, changes in {
        "one": {},
        "two": {"from_scratch": True},
        "three": {"task": Classify(decoder, pooling="last")},
    }.items():
        config = small(checkpoint, tmp_path / name, **changes)
        finetune.run(config)
        losses.append(read_metrics(config.folder / "seed-0", "train")[0]["loss"])
    assert len(set(losses)) == 3
    assert (tmp_path / "one" / "run" / "pretrained").is_dir()
    assert (tmp_path / "two" / "run" / "scratch").is_dir()


@pytest.mark.slow
def test_the_same_command_gives_the_same_results(checkpoint, tmp_path):
    first, second = (
        finetune.run(
            small(checkpoint, tmp_path / name, task=Classify(checkpoint, network_dropout=0.1))
        )
        for name in ("one", "two")
    )
    assert first == second


def stop_after(step, config):
    """Runs until the step is done, then the way a SIGTERM ends it."""
    before, count = finetune.score, 0

    def counted(*arguments):
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return before(*arguments)

    finetune.score = counted
    try:
        return finetune.run(config)
    finally:
        finetune.score = before


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_finished_seeds_stay(checkpoint, tmp_path, capsys):
    whole = finetune.run(small(checkpoint, tmp_path / "whole", seeds=(0, 1)))
    config = small(checkpoint, tmp_path / "parts", seeds=(0, 1))
    assert stop_after(5, config) == {}  # in seed 1: seed 0 scores twice, then dev and test
    assert "SIGTERM: saved step 2" in capsys.readouterr().out
    again = finetune.run(config)
    assert "seed 0 is finished already" in capsys.readouterr().out
    assert again["mean"]["test"] == whole["mean"]["test"]
    more = finetune.run(dataclasses.replace(config, seeds=(0, 1, 2)))
    assert [result["seed"] for result in more["seeds"]] == [0, 1, 2]


def test_another_finetuning_in_the_same_folder_is_refused(checkpoint, tmp_path):
    config = small(checkpoint, tmp_path)
    finetune.run(config)
    with pytest.raises(InputError, match=r"another finetuning \(batch: 16 -> 8\)"):
        finetune.run(dataclasses.replace(config, batch=8))
    write_examples(tmp_path / "train.tsv", seed=9)
    with pytest.raises(InputError, match=r"another finetuning \(examples: "):
        finetune.run(config)


@pytest.mark.slow
def test_the_checkpoint_is_only_read(checkpoint, tmp_path):
    before = digest(load_pretrained(checkpoint).model)
    finetune.run(small(checkpoint, tmp_path))
    assert digest(load_pretrained(checkpoint).model) == before


WRONG = {  # changes of the flags, and what the message says
    "missing file": (["--data.train", "nowhere.tsv"], "nowhere.tsv does not exist"),
    "missing column": (["--data.text", "txt"], "no column 'txt'; it has sentence, label"),
    "missing checkpoint": (["--task.checkpoint", "nowhere"], "nowhere is no run"),
    "too long": (
        ["--data.length", "999"],
        "length 999 must be from 4 to the checkpoint's max_length 32",
    ),
    "metric": (["--metric", "acc"], "metric 'acc' is none of accuracy, f1_macro, mcc, loss, f1"),
    "field": (["--task.poolling", "mean"], "the nearest is --task.pooling"),
    "batch": (["--batch", "0"], "batch=0 must be at least 1"),
    "seeds": (["--seeds", "1", "1"], "must be different numbers"),
}


def run_command(checkpoint, folder, *flags):
    """`python finetune.py` on a small recipe, in a process of its own with one device."""
    recipe = folder / "recipe.py"
    recipe.write_text(
        "from jaxssl.data.labelled.tables import Labelled\n"
        "from jaxssl.tasks.classify import Classify\n"
        "from jaxssl.finetuning.setup import Finetuning\n"
        "import tests.shrink  # whose OneDevice the checkpoint's configuration names\n"
        f"data = Labelled({write_examples(folder / 'train.tsv')!r}, text='sentence')\n"
        f"config = Finetuning(data, Classify({checkpoint!r}), steps=2, run='runs/none')\n"
    )
    command = [sys.executable, "finetune.py", "--config", str(recipe), *flags]
    environment = {**ENVIRONMENT, "XLA_FLAGS": xla_flags(1)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_bad_input_of_the_command_is_one_line_and_exit_code_2(checkpoint, tmp_path):
    """One of the table in a process of its own; the others in this one."""
    flags, message = WRONG["missing column"]
    ended = run_command(checkpoint, tmp_path, *flags)
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("name", WRONG)
def test_bad_input(checkpoint, tmp_path, name, monkeypatch):
    flags, message = WRONG[name]
    config = small(checkpoint, tmp_path, mesh=Mesh())
    recipe = tmp_path / "recipe.py"
    recipe.write_text("config = None\n")
    monkeypatch.setattr("jaxssl.training.config.load_config", lambda path, kind: config)
    arguments = ["--config", str(recipe), *flags]
    with pytest.raises(InputError) as told:
        finetune.run(finetune.read_config(Finetuning, "", arguments))
    assert message in str(told.value)
    assert "\n" not in str(told.value)
    assert not config.folder.exists()  # nothing is written before all is accepted


def test_a_checkpoint_that_does_not_fit(checkpoint, tmp_path):
    """Another vocabulary, no step, and a finetuning in place of a pretraining."""
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint, copy)
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join([*SPECIALS, *WORDS, "more"]) + "\n", encoding="utf-8")
    shutil.rmtree(copy / "tokenizer")
    load_tokenizer(vocabulary).save(copy / "tokenizer")
    with pytest.raises(InputError, match="copy/tokenizer is not the one that the run was trained"):
        finetune.run(small(str(copy), tmp_path / "first"))
    shutil.rmtree(copy / "tokenizer")
    shutil.copytree(f"{checkpoint}/tokenizer", copy / "tokenizer")
    shutil.rmtree(copy / "checkpoints")
    with pytest.raises(InputError, match="holds no checkpoint"):
        finetune.run(small(str(copy), tmp_path / "second"))
    config = small(checkpoint, tmp_path / "third")
    finetune.run(config)
    with pytest.raises(InputError, match="is no run"):
        finetune.run(small(str(config.folder), tmp_path / "fourth"))
