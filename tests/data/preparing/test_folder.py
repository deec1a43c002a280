"""The folder of a set: renamed when it is complete, left alone when it is the same, locked meanwhile."""

import io
import threading
from dataclasses import dataclass, field

import pytest

from jaxssl.data.prepared.manifest import MANIFEST, partial_of
from jaxssl.data.preparing.folder import (
    MARK,
    already,
    check_same,
    locked,
    make_folder,
    move_units,
    named,
    put_in_place,
    units_of,
)
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError

QUIET = TextProgress(silent=True)


@dataclass(frozen=True)
class Part:
    file: str
    documents_file: str


@dataclass(frozen=True)
class Fake:
    """A manifest that is a number in its file."""

    config: dict
    splits: dict = field(default_factory=dict)


def read(folder):
    try:
        return Fake({"number": int((folder / MANIFEST).read_text())})
    except ValueError as error:
        raise InputError("damaged") from error


def writer(number, calls):
    def write(partial):
        calls.append(number)
        (partial / MANIFEST).write_text(str(number))
        (partial / "left over").touch()
        return read(partial)

    return write


def make(folder, number, calls):
    config = {"number": number}
    return make_folder(folder, config, QUIET, read=read, write=writer(number, calls))


def test_a_set_is_made_once(tmp_path):
    calls = []
    first = make(tmp_path / "set", 7, calls)
    assert {path.name for path in (tmp_path / "set").iterdir()} == {MANIFEST}
    assert make(tmp_path / "set", 7, calls) == first
    assert calls == [7]
    with pytest.raises(InputError, match=r"number: 7 -> 8.*choose another folder"):
        make(tmp_path / "set", 8, calls)


def test_what_was_killed_before_renaming_is_only_renamed(tmp_path):
    partial = partial_of(tmp_path / "set")
    with locked(partial, QUIET):
        (partial / MANIFEST).write_text("7")
    with pytest.raises(InputError, match="number: 7 -> 8"):
        make(tmp_path / "set", 8, [])
    calls = []
    assert make(tmp_path / "set", 7, calls) == read(tmp_path / "set")
    assert calls == []


def test_a_folder_of_the_users_own_is_left_alone(tmp_path):
    """It has the name that the unfinished set would have, and no mark that jaxssl has made it."""
    partial = partial_of(tmp_path / "set")
    (partial / "units").mkdir(parents=True)
    for name in ("thesis.tex", "lock", "survey.json", MANIFEST, "units/a"):
        (partial / name).write_text("mine")
    before = {path: path.read_text() for path in partial.rglob("*") if path.is_file()}
    calls = []
    for mark in (None, "{}", '{"made_by": "me"}', "[]"):
        if mark is not None:
            (partial / MARK).write_text(mark)
        with pytest.raises(InputError, match=r"set\.partial.* not made.*left alone: rename it"):
            make(tmp_path / "set", 7, calls)
    (partial / MARK).unlink()
    assert {path: path.read_text() for path in partial.rglob("*") if path.is_file()} == before
    assert calls == []
    assert list(tmp_path.iterdir()) == [partial]


def test_an_empty_folder_is_taken_over(tmp_path):
    partial_of(tmp_path / "set").mkdir()
    make(tmp_path / "set", 7, [])
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_a_killed_run_has_left_is_gone_on_with(tmp_path):
    partial = partial_of(tmp_path / "set")
    with locked(partial, QUIET):
        (partial / "units").mkdir()
    assert {path.name for path in partial.iterdir()} == {"units", MARK}
    (partial / MANIFEST).write_text("7 and more")  # damaged: it is made again
    calls = []
    make(tmp_path / "set", 7, calls)
    assert calls == [7]


def test_what_is_in_the_way_is_named(tmp_path):
    partial = partial_of(tmp_path / "set")
    with locked(partial, QUIET):
        (partial / "units").touch()
    with (
        pytest.raises(InputError, match=r"units is not what .*remove .*partial"),
        locked(partial, QUIET),
    ):
        units_of(partial)
    with pytest.raises(FileExistsError), locked(partial, QUIET):
        (tmp_path / "set.partial").parent.mkdir()  # of others: no advice to remove ours
    (tmp_path / "a file").touch()
    with (
        pytest.raises(InputError, match="there is a file of that name, .*a file"),
        locked(tmp_path / "a file" / "partial", QUIET),
    ):
        pass


def test_folders_that_are_no_set(tmp_path):
    assert already(tmp_path / "none", {}, read) is None
    (tmp_path / "empty").mkdir()
    assert already(tmp_path / "empty", {}, read) is None
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "letter").touch()
    with pytest.raises(InputError, match="exists and is not a prepared set"):
        already(tmp_path / "notes", {}, read)
    make(tmp_path / "empty", 1, [])  # an empty folder is taken


def test_the_first_difference_is_named():
    check_same("set", {"a": 1, "b": {"c": 2}}, {"b": {"c": 2}, "a": 1})
    with pytest.raises(
        InputError, match=r"set was made with another configuration \(b.c: 2 -> 3\)"
    ):
        check_same("set", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})


def test_names_of_the_finished_set(tmp_path):
    (tmp_path / "units").mkdir()
    shards = {"train": [Part("u1", "d1"), Part("u2", "d2")], "valid": [Part("u3", "d3")]}
    for part in (*shards["train"], *shards["valid"]):
        (tmp_path / "units" / part.file).write_text(part.file)
        (tmp_path / "units" / part.documents_file).touch()
    found = named(shards)
    assert found["train"][1] == Part(
        "train-00001-of-00002.array_record", "train-00001-of-00002.documents.npz"
    )
    assert found["valid"][0].file == "valid-00000-of-00001.array_record"
    move_units(shards, found, tmp_path)
    assert (tmp_path / found["train"][1].file).read_text() == "u2"
    assert list((tmp_path / "units").iterdir()) == []


def test_unfinished_files_are_removed(tmp_path):
    units = units_of(tmp_path)
    (units / "a.array_record").touch()
    (units / "b.array_record.17.tmp").touch()
    assert [path.name for path in units_of(tmp_path).iterdir()] == ["a.array_record"]


def test_only_the_set_is_kept(tmp_path):
    partial = partial_of(tmp_path / "set")
    (partial / "units").mkdir(parents=True)
    for name in (MANIFEST, "a", "b", "survey.json", "units/c"):
        (partial / name).touch()
    manifest = Fake({}, {"train": (Part("a", "b"),)})
    assert put_in_place(manifest, tmp_path / "set") is manifest
    assert {path.name for path in (tmp_path / "set").iterdir()} == {MANIFEST, "a", "b"}
    assert not partial.exists()


def test_a_second_process_waits(tmp_path):
    """Locks are of open files, so a thread stands for another process."""
    stream, order = io.StringIO(), []
    first_is_in, leave = threading.Event(), threading.Event()

    def first():
        with locked(tmp_path / "partial", QUIET):
            first_is_in.set()
            leave.wait(20)
            (tmp_path / "partial" / "content").touch()
            order.append("first")

    class Report:
        def say(self, line):
            stream.write(line)
            leave.set()

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait(20)
    with locked(tmp_path / "partial", Report()):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert "another process is writing" in stream.getvalue()


def test_an_empty_folder_is_not_left(tmp_path):
    with locked(tmp_path / "partial", QUIET):
        pass
    assert not (tmp_path / "partial").exists()
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="there is a file of that name"),
        locked(tmp_path / "file", QUIET),
    ):
        pass
