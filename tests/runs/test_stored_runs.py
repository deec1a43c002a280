"""Reading of runs from an object store, fsspec's memory://; nothing is trained."""

import json

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile

from jaxssl.data.stores.store import Missing, Store
from jaxssl.errors import InputError
from jaxssl.runs.mirror import mirrored
from jaxssl.runs.stored_runs import COMPLETE, StoredRun, opened, run_folder
from tests.runs.small_steps import write_step


def copy_by_hand(url):
    for path in run_folder(url).rglob("*"):
        if path.is_file():
            Store(url).upload(path, path.relative_to(run_folder(url)).as_posix())


def test_the_local_folder_of_a_run(url, tmp_path):
    assert run_folder(tmp_path) == tmp_path
    folder = run_folder(url)
    assert folder.parent == tmp_path / "cache" / "runs"
    assert folder.name.startswith("x-")
    assert run_folder(url + "/") == folder
    assert run_folder("memory://other/runs/x") != folder


def test_files_are_sorted_into_checkpoints_and_others(url):
    """A checkpoint without a list of its files is broken, unless the run was copied by hand."""
    names = ["seed-0/checkpoints/3/state/d", "checkpoints/2/a", "config.json", "checkpoints/no"]
    store = Store(url)
    for name in names:
        store.write_json(name, {})
    by_hand = StoredRun(url)
    assert not by_hand.is_mirrored
    assert by_hand.steps == {"seed-0/checkpoints/3": [names[0]], "checkpoints/2": [names[1]]}
    assert sorted(by_hand.others) == ["checkpoints/no", "config.json"]
    assert by_hand.broken == []
    store.write_json(f"checkpoints/2{COMPLETE}", {"files": {}})
    mirrored_run = StoredRun(url)
    assert mirrored_run.is_mirrored
    assert mirrored_run.steps == {"checkpoints/2": [names[1]]}
    assert mirrored_run.broken == [names[0]]


def test_arrays_come_when_they_are_asked_for(url):
    with mirrored(url):
        (run_folder(url) / "config.json").write_text(json.dumps({"a": 1}), encoding="utf8")
        for seed in (0, 1):
            write_step(url, 2, f"pretrained/seed-{seed}/checkpoints")
    with opened(f"{url}/pretrained") as (folder, download_arrays):
        arrays = [folder / f"seed-{seed}/checkpoints/2/state/d/0" for seed in (0, 1)]
        assert (folder / "seed-1/checkpoints/2/_CHECKPOINT_METADATA").exists()
        assert not any(path.exists() for path in arrays)
        download_arrays("seed-0/checkpoints")
        assert arrays[0].read_text() == "parameters 2"
        assert not arrays[1].exists()
    assert not folder.exists()


def test_a_changed_file_of_a_checkpoint_is_refused(url):
    with mirrored(url):
        write_step(url, 2)
    files = fsspec.filesystem("memory")
    files.pipe_file("bucket/runs/x/checkpoints/2/state/d/0", b"parameters 3")
    with opened(url) as (folder, download_arrays):
        assert not (folder / "checkpoints/2/state").exists()
        with pytest.raises(InputError, match="checkpoints/2/state/d/0 could not be read .*sha256"):
            download_arrays("checkpoints/2")


@pytest.mark.parametrize(
    "listed", [{}, {"files": 5}, {"files": {"../../x": {"size": 1}}}, [], None]
)
def test_a_list_of_files_that_is_none(url, listed):
    with mirrored(url):
        write_step(url, 2)
    Store(url).write_json(f"checkpoints/2{COMPLETE}", listed)
    with (
        pytest.raises(InputError, match=r"2\.complete\.json: "),
        opened(url),
    ):
        pass


def test_a_list_that_names_files_elsewhere(url, tmp_path):
    with mirrored(url):
        write_step(url, 2)
    evil = {"files": {"../../../x": {"size": 1, "sha256": "0" * 64}}}
    Store(url).write_json(f"checkpoints/2{COMPLETE}", evil)
    with pytest.raises(InputError, match="not a plain relative name"), opened(url):
        pass


def test_a_key_outside_of_the_run_is_written_nowhere(url, tmp_path):
    with mirrored(url):
        write_step(url, 2)
    files = fsspec.filesystem("memory")
    key = "/bucket/runs/x/checkpoints/2/../../../../../escaped"
    files.store[key] = MemoryFile(files, key, b"content")
    for use in (opened, mirrored):
        with pytest.raises(InputError, match="not a plain relative name"), use(url):
            pass
    assert not list(tmp_path.rglob("escaped"))


def test_a_run_that_does_not_exist():
    with pytest.raises(Missing, match="does not exist"), opened("memory://bucket/none"):
        pass


def test_a_run_that_was_copied_by_hand_is_read(url, tmp_path):
    write_step(url, 2)
    copy_by_hand(url)
    with opened(url) as (folder, download_arrays):
        download_arrays("checkpoints/2")
        assert (folder / "checkpoints/2/state/d/0").read_text() == "parameters 2"
    with opened(tmp_path) as (folder, _):
        assert folder == tmp_path
