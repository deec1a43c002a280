"""How a run's folder and its copy on a store are kept alike, on fsspec's memory://; nothing is trained."""

import json
import shutil
import time

import fsspec
import pytest

from jaxssl.data.stores.store import Missing, Store
from jaxssl.errors import InputError
from jaxssl.runs.mirror import bring, mirrored
from jaxssl.runs.stored_runs import COMPLETE, IDENTITY, StoredRun, opened, run_folder


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jaxssl.data.stores.store.PAUSE", 0.001)
    yield "memory://bucket/runs/x"
    fsspec.filesystem("memory").store.clear()


def write_step(url, step, place="checkpoints", text="parameters"):
    folder = run_folder(url) / place / str(step)
    (folder / "state" / "d").mkdir(parents=True)
    (folder / "state" / "d" / "0").write_text(f"{text} {step}", encoding="utf8")
    (folder / "_CHECKPOINT_METADATA").write_text("{}", encoding="utf8")


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
    with pytest.raises(InputError, match="is what another run has left"), mirrored(url):
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
        pytest.raises(InputError, match="another process works at"),
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


def test_a_changed_file_of_a_checkpoint_is_refused(url):
    with mirrored(url):
        write_step(url, 2)
    files = fsspec.filesystem("memory")
    files.pipe_file("bucket/runs/x/checkpoints/2/state/d/0", b"parameters 3")
    with opened(url) as (folder, fetch):
        assert not (folder / "checkpoints/2/state").exists()
        with pytest.raises(InputError, match="checkpoints/2/state/d/0 could not be read .*sha256"):
            fetch("checkpoints/2")
    with pytest.raises(Missing, match="does not exist"), opened("memory://bucket/none"):
        pass


def test_a_run_that_was_copied_by_hand_is_read(url, tmp_path):
    write_step(url, 2)
    for path in run_folder(url).rglob("*"):
        if path.is_file():
            Store(url).upload(path, path.relative_to(run_folder(url)).as_posix())
    with opened(url) as (folder, fetch):
        fetch("checkpoints/2")
        assert (folder / "checkpoints/2/state/d/0").read_text() == "parameters 2"
    with opened(tmp_path) as (folder, fetch):
        assert folder == tmp_path


def test_identity_is_not_overwritten(url):
    with mirrored(url):
        first = json.loads((run_folder(url) / IDENTITY).read_text())["id"]
    shutil.rmtree(run_folder(url))
    bring(StoredRun(url), run_folder(url))
    assert json.loads((run_folder(url) / IDENTITY).read_text())["id"] == first
