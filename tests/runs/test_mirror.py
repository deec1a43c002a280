"""The local folder of a run and its copy on an object store, fsspec's memory://; nothing is trained."""

import dataclasses
import json
import os
import shutil
import time

import pytest

import finetune
import train
from jaxssl.data.stores import lease
from jaxssl.data.stores.lease import LEASE, Sign
from jaxssl.data.stores.locks import LOCK, Holder, Locked
from jaxssl.data.stores.store import Store
from jaxssl.errors import InputError
from jaxssl.finetuning.setup import Finetuning
from jaxssl.runs.mirror import mirrored, synchronize
from jaxssl.runs.stored_runs import COMPLETE, IDENTITY, StoredRun, run_folder
from jaxssl.training.config import Pretraining, load_config
from tests.runs.small_steps import write_step


def steps_there(url):
    return sorted(int(step.rpartition("/")[2]) for step in StoredRun(url).steps)


def test_what_is_copied_and_removed(url):
    with mirrored(url):
        folder = run_folder(url)
        (folder / "config.json").write_text("{}", encoding="utf8")
        (folder / "hosts").mkdir()
        (folder / "hosts" / "0").write_text("alive", encoding="utf8")
        (folder / "metrics.partial").write_text("half", encoding="utf8")
        write_step(url, 2)
        write_step(url, 4)
        (folder / "checkpoints" / "6.orbax-checkpoint-tmp").mkdir()
    assert steps_there(url) == [2, 4]
    assert set(Store(url).sizes()) == {
        "mirror.json",
        "config.json",
        *(
            f"checkpoints/{step}{name}"
            for step in (2, 4)
            for name in ("/state/d/0", "/_CHECKPOINT_METADATA", COMPLETE)
        ),
    }
    with mirrored(url):
        shutil.rmtree(folder / "checkpoints" / "2")
        write_step(url, 6)
    assert steps_there(url) == [4, 6]
    assert not [name for name in Store(url).sizes() if name.startswith("checkpoints/2")]


def test_the_thread_copies_while_the_run_goes_on(url, monkeypatch):
    monkeypatch.setattr("jaxssl.runs.mirror.PAUSE", 0.01)
    with mirrored(url):
        write_step(url, 2)
        for _ in range(1000):
            if steps_there(url) == [2]:
                break
            time.sleep(0.01)
        assert steps_there(url) == [2]


def test_a_lost_folder_comes_back_without_what_was_half_copied(url):
    with mirrored(url):
        write_step(url, 2, "pretrained/seed-0/checkpoints")
        write_step(url, 3, "pretrained/seed-0/checkpoints")
        (run_folder(url) / "pretrained" / "seed-0" / "result.json").write_text("{}")
    store = Store(url)
    store.delete([f"pretrained/seed-0/checkpoints/3{COMPLETE}"])  # as a kill would have left it
    shutil.rmtree(run_folder(url))
    with mirrored(url):
        there = run_folder(url) / "pretrained" / "seed-0"
        assert [path.name for path in (there / "checkpoints").iterdir()] == ["2"]
        assert (there / "checkpoints/2/state/d/0").read_text() == "parameters 2"
        assert (there / "result.json").read_text() == "{}"
    assert not [name for name in store.sizes() if "checkpoints/3" in name]


def test_the_one_that_is_ahead_wins(url):
    with mirrored(url):
        write_step(url, 2)
    write_step(url, 4)  # the store was down, say
    with mirrored(url):
        pass
    assert steps_there(url) == [2, 4]
    shutil.rmtree(run_folder(url) / "checkpoints" / "4")
    shutil.rmtree(run_folder(url) / "checkpoints" / "2")
    write_step(url, 3, text="stale")  # the run went on to 4 on another machine
    with mirrored(url):
        assert sorted(p.name for p in (run_folder(url) / "checkpoints").iterdir()) == ["2", "4"]
    assert steps_there(url) == [2, 4]


def test_other_runs_and_other_files_are_left_alone(url):
    with mirrored(url):
        write_step(url, 2)
    Store(url).write_json(IDENTITY, {"id": "another"})
    with pytest.raises(InputError, match="belongs to another run"), mirrored(url):
        pass
    Store("memory://bucket/notes").write_json("mine", 1)
    with (
        pytest.raises(InputError, match="holds files that no run"),
        mirrored("memory://bucket/notes"),
    ):
        pass
    other = f"{url}-other"
    with (
        mirrored(other),
        pytest.raises(InputError, match=f"{other} is being written by process {os.getpid()} on"),
        mirrored(other),
    ):
        pass


def test_the_error_of_the_run_is_the_one_that_is_told(url):
    def fail():
        write_step(url, 2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), mirrored(url):
        fail()
    assert steps_there(url) == [2]


def test_identity_is_not_overwritten(url):
    with mirrored(url):
        first = json.loads((run_folder(url) / IDENTITY).read_text())["id"]
    shutil.rmtree(run_folder(url))
    synchronize(StoredRun(url), run_folder(url))
    assert json.loads((run_folder(url) / IDENTITY).read_text())["id"] == first


def test_a_local_run_has_one_writer(tmp_path):
    """The same for pretraining and finetuning; the folder of a run that was refused is not left."""
    run = tmp_path / "runs" / "x"
    with (
        mirrored(run),
        pytest.raises(Locked, match=rf"x is being written by process {os.getpid()} on"),
        mirrored(run),
    ):
        pass
    assert not run.exists()
    with mirrored(run):
        (run / "config.json").touch()
    assert [path.name for path in run.iterdir()] == ["config.json"]
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(InputError, match=r"cannot be a folder, since .*file.* is in the way"):
            mirrored(path).__enter__()


@pytest.mark.parametrize(
    ("name", "finetuning", "what"),
    [
        ("manifest.json", False, "a prepared set"),
        ("manifest.json", True, "a prepared set"),
        ("config.json", True, "a pretraining"),
        ("finetuning.json", False, "a finetuning"),
        ("pretrained/finetuning.json", False, "a finetuning"),
        ("scratch/finetuning.json", False, "a finetuning"),
    ],
)
def test_the_folder_of_something_else_is_left_alone(tmp_path, name, finetuning, what):
    """A tokenizer of another set, or results that `jaxssl.load` would take for the run's own."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(InputError, match=f"is the folder of {what}, which has a {name}; set run to"),
        mirrored(tmp_path, finetuning=finetuning),
    ):
        pass
    assert sorted(tmp_path.rglob("*")) == before
    if name != "manifest.json":  # where it belongs
        with mirrored(tmp_path, finetuning=not finetuning):
            pass


def test_a_start_that_fails_leaves_nothing(url):
    """So the next start, perhaps with another configuration, is not refused."""

    def fail(*, name):
        with mirrored(url):
            folder = run_folder(url)
            (folder / "config.json").write_text("{}")
            if name:
                (folder / name).touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(name="")
    assert Store(url).sizes() == {}
    assert not run_folder(url).exists()
    with pytest.raises(ZeroDivisionError):
        fail(name="metrics.jsonl")  # something was learned: it is kept
    assert set(Store(url).sizes()) == {"mirror.json", "config.json", "metrics.jsonl"}
    with pytest.raises(ZeroDivisionError):
        fail(name="")  # it goes on with a run that was there
    assert run_folder(url).exists()


def test_a_local_folder_without_checkpoints_gives_way(url):
    """The store was emptied after a start that failed."""
    with mirrored(url):
        (run_folder(url) / "config.json").write_text("old")
    Store(url).delete(Store(url).sizes())
    with mirrored(url):
        assert not (run_folder(url) / "config.json").exists()


def test_who_was_taken_over_copies_nothing_any_more(url, monkeypatch):
    """As after a long pause: the checkpoints of two machines must not be mixed."""
    monkeypatch.setattr(lease, "BEAT", 100.0)
    store, elsewhere = Store(url), Holder(host="elsewhere", process=7, since="then", machine="x")

    def go_on():
        with mirrored(url):
            write_step(url, 2)
            store.write_json(LEASE, dataclasses.asdict(Sign(elsewhere, "another")))
            write_step(url, 4)

    with pytest.raises(InputError, match="taken over by process 7 on elsewhere") as told:
        go_on()
    assert f"whole in {run_folder(url)}" in str(told.value)
    assert "checkpoints/4" not in StoredRun(url).steps
    assert store.read_json(LEASE, Sign).holder == elsewhere


def test_two_machines_with_caches_of_their_own(url, monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "BEAT", 0.02)
    monkeypatch.setattr(lease, "LOOK", 0.01)
    with mirrored(url):
        write_step(url, 2)
        monkeypatch.setenv("JAXSSL_CACHE", str(tmp_path / "other"))
        with pytest.raises(Locked, match=f"{url} is being written by process"), mirrored(url):
            pass
        monkeypatch.setenv("JAXSSL_CACHE", str(tmp_path / "cache"))
    assert list(StoredRun(url).steps) == ["checkpoints/2"]


@pytest.mark.parametrize(
    ("page", "recipe", "kind"),
    [(train, "quickstart", Pretraining), (finetune, "finetune_quickstart", Finetuning)],
)
def test_a_second_training_in_a_folder_is_refused(page, recipe, kind, tmp_path):
    """Before it looks at its data, and without a trace in the folder of the first."""
    run = tmp_path / recipe
    config = dataclasses.replace(load_config(f"configs/{recipe}.py", kind), run=str(run))
    with mirrored(run):
        with pytest.raises(Locked, match=f"{recipe} is being written by process"):
            page.run(config)
        assert [path.name for path in run.iterdir()] == [LOCK]
