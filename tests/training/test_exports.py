"""A run writes itself for other tools: at its end, and once after numbers of words."""

import dataclasses
import json
from pathlib import Path

import pytest

import train
from jaxssl.errors import InputError
from jaxssl.exporting.row_content import row_content
from jaxssl.training.config import Pretraining
from jaxssl.training.exports import Exports
from tests.shrink import prepare_pictures, prepare_words, shrink


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def rows(folder):
    return prepare_words(folder)


def recipe(rows, folder, name="bert_tiny", **changes) -> Pretraining:
    return shrink(f"configs/{name}.py", rows, folder / "run", **changes)


def test_the_steps_after_which_words_have_been_seen(rows, tmp_path, capsys):
    config = recipe(rows, tmp_path, export_at=("1", "1M"))
    exports = Exports(config, config.data.open("train", seed=0))
    a_step = row_content(config).words * 16
    assert exports.due == {1: ["1"], -int(-1e6 // a_step): ["1M"]}
    printed = capsys.readouterr().out
    assert f"reads about {2 * a_step:,.0f} words and does not reach export_at 1M" in printed


def test_what_is_refused_before_the_run(rows, folder, tmp_path):
    with pytest.raises(InputError, match="export_at='ten' is no number of words"):
        recipe(rows, tmp_path, export_at=("ten",))
    config = recipe(rows, tmp_path, "skip_gram_novels", export_at=("1M",))
    with pytest.raises(InputError, match="no class that computes what this WordVectors does"):
        Exports(config, config.data.open("train", seed=0))
    prepare_pictures(folder / "pictures")
    config = recipe(rows, tmp_path, "simclr_cifar10", export_at=("1M",))
    with pytest.raises(InputError, match="export_at counts words, and these rows hold none"):
        Exports(config, config.data.open("train", seed=0))


@pytest.mark.slow
def test_a_run_exports_itself_and_a_resumed_one_writes_nothing_twice(rows, tmp_path, capsys):
    config = recipe(rows, tmp_path, export=True, export_at=("1",))
    train.run(config)
    exported = Path(config.run) / "exported"
    assert "a `BertForMaskedLM` of transformers" in capsys.readouterr().out
    first, last = (
        json.loads((f / "proof.json").read_text()) for f in (exported / "words_1", exported)
    )
    assert "step 1 of the run" in first["compared"]
    assert "step 2 of the run" in last["compared"]
    assert max(first["largest_difference"], last["largest_difference"]) <= 1e-5
    written = (exported / "words_1" / "model.safetensors").stat().st_mtime_ns
    longer = ("1", f"{row_content(config).words * 16 * 2.5:.0f}")
    train.run(dataclasses.replace(config, steps=4, save_every=4, export_at=longer))
    assert (exported / "words_1" / "model.safetensors").stat().st_mtime_ns == written
    names = sorted(path.name for path in exported.iterdir() if path.is_dir())
    assert names == sorted(f"words_{words}" for words in longer)
    proof = json.loads((exported / f"words_{longer[1]}" / "proof.json").read_text())
    assert "step 3 of the run" in proof["compared"]


@pytest.mark.slow
def test_a_network_without_a_class_goes_out_as_arrays_and_a_failure_ends_no_run(
    rows, tmp_path, capsys, monkeypatch
):
    config = recipe(rows, tmp_path, "skip_gram_novels", export=True)
    train.run(config)
    assert "exported as numpy arrays: transformers has no class" in capsys.readouterr().out
    assert (Path(config.run) / "exported" / "parameters.npz").exists()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxssl.training.exports.export_pretrained", full)
    assert train.run(dataclasses.replace(config, steps=3))
    assert "exported was not written: the disk is full" in capsys.readouterr().out
