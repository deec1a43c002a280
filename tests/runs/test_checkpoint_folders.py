"""Damaged checkpoints: seeded mutations are one line each, or change nothing, and the advice works."""

import contextlib
import json
import random
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from jaxssl.errors import InputError
from jaxssl.runs.checkpoint import Checkpoints, Keep
from jaxssl.runs.checkpoint_folders import check_folder, complete_steps, way_back
from jaxssl.runs.checkpoint_hashes import LIST
from tests.runs.small_states import state

STEPS = (3, 6, 9)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with three checkpoints."""
    run = tmp_path_factory.mktemp("saved")
    with Checkpoints(run, Keep(latest=3)) as checkpoints:
        for step in STEPS:
            checkpoints.save(state(step), {"loss": 1.0 / step})
    return run


@pytest.fixture
def run(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def restore(run):
    """Opens the run and restores its latest state, which must be right: its value is the step's number."""
    with Checkpoints(run, Keep(latest=3)) as checkpoints:
        restored = checkpoints.restore_latest(state(0))
    if restored is None:
        return None
    assert restored.model["kernel"].tolist() == [float(restored.step)] * 4
    return int(restored.step)


def follow(message):
    """Runs the commands that an error message proposes."""
    for command in re.findall(r"mv \S+ \S+", message):
        _, source, target = shlex.split(command)
        Path(source).rename(target)


def refused(run, match):
    with pytest.raises(InputError, match=match) as told:
        restore(run)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_the_step_before_is_offered_and_works(run):
    (run / "checkpoints/9/state/_METADATA").unlink()
    message = refused(
        run, r"checkpoints/9 is damaged: state/_METADATA is missing; that of step 6 is"
    )
    follow(message)
    assert restore(run) == 6
    with Checkpoints(run, Keep(latest=3)) as checkpoints:
        checkpoints.save(state(9), {"loss": 0.5})  # the run comes to this step again
    assert restore(run) == 9
    assert (run / "checkpoints/9.aside").is_dir()


def test_several_damaged_ones_are_moved_together(run):
    shutil.rmtree(run / "checkpoints/9/state")
    (run / "checkpoints/6/state/manifest.ocdbt").write_bytes(b"")
    message = refused(run, "that of step 3 is whole")
    follow(message)
    assert restore(run) == 3
    assert complete_steps(run / "checkpoints") == [3]


def test_where_none_is_whole_another_folder_is_named(run):
    for step in STEPS:
        shutil.rmtree(run / "checkpoints" / str(step) / "state")
    refused(run, "there is no other whole checkpoint; begin again, with run set to another folder")


def test_a_reader_is_sent_to_a_later_one(run):
    (run / "checkpoints/3/state/_METADATA").unlink()
    assert "that of step 6 is whole" in way_back(run / "checkpoints", 3)


def test_a_name_that_is_taken_is_not_used_again(run):
    (run / "checkpoints/9.aside").mkdir()
    assert way_back(run / "checkpoints", 9).endswith(f"{run}/checkpoints/9.aside-2")


def test_verification_can_be_turned_off(run):
    with (run / "checkpoints/9" / LIST).open("w") as listed:
        json.dump({"step": 9, "files": {"x": {"size": 0, "sha256": "0" * 64}}}, listed)
    refused(run, "x is missing")
    with Checkpoints(run, verify=False) as checkpoints:
        assert int(checkpoints.restore_latest(state(0)).step) == 9


def test_a_temporary_copy_is_named_by_its_address(run):
    """A command that moved folders of the copy would change nothing in the store."""
    (run / "checkpoints/9/state/_METADATA").unlink()
    url = "s3://bucket/run"
    with (
        Checkpoints(run, Keep(latest=3), read_only=True, copy_of=url) as checkpoints,
        pytest.raises(InputError) as told,
    ):
        checkpoints.restore_latest(state(0))
    assert str(told.value) == (
        f"checkpoint 9 of {url} is damaged: state/_METADATA is missing; "
        "load another one with which=3 or 6"
    )


def write(name, content):
    def change(run):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(content)

    return change


def swap(run):
    checkpoints = run / "checkpoints"
    (checkpoints / "9").rename(checkpoints / "x")
    (checkpoints / "6").rename(checkpoints / "9")
    (checkpoints / "x").rename(checkpoints / "6")


def move(source, target):
    return lambda run: (run / "checkpoints" / source).rename(run / "checkpoints" / target)


REFUSED = {
    "a file in place of the folder": lambda run: (
        shutil.rmtree(run / "checkpoints"),
        (run / "checkpoints").write_text("x"),
    ),
    "swapped": swap,
    "renamed": move("9", "500"),
    "zeros before": move("9", "0009"),
    "too large": move("9", "9" * 23),
    "other digits": move("9", "\u0669"),
    "beyond int32": move("9", str(2**31)),
    "empty and later": lambda run: (run / "checkpoints/99").mkdir(),
    "a file and later": write("checkpoints/99", b"x"),
    "arrays of another step": lambda run: (
        shutil.rmtree(run / "checkpoints/9/state/ocdbt.process_0"),
        shutil.copytree(
            run / "checkpoints/6/state/ocdbt.process_0",
            run / "checkpoints/9/state/ocdbt.process_0",
        ),
    ),
    **{
        f"{name} {content!r}": write(f"checkpoints/9/{name}", content)
        for name in ("metrics/metrics", "_CHECKPOINT_METADATA")
        for content in (b"", b"null", b"[1]", b"\x00\x01", b'{"loss": NaN}', b'{"loss": 1e999}')
    },
    "metrics of another type": write("checkpoints/9/metrics/metrics", b'{"loss": "x"}'),
}
ACCEPTED = {
    "nothing changed": lambda run: None,
    "foreign folder": lambda run: (run / "checkpoints/foo").mkdir(),
    "negative": lambda run: (run / "checkpoints/-5").mkdir(),
    "foreign file": write("checkpoints/notes.txt", b"x"),
    "unfinished": lambda run: shutil.copytree(
        run / "checkpoints/9", run / "checkpoints/12.orbax-checkpoint-tmp"
    ),
    "one more file": write("checkpoints/9/notes.txt", b"x"),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(run, change):
    change(run)
    refused(run, "checkpoints")


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_accepted(run, change):
    change(run)
    assert restore(run) == 9


OTHER_TYPES = {
    "item_handlers": 5,
    "metrics": "x",
    "performance_metrics": [],
    "init_timestamp_nsecs": 2.5,
    "commit_timestamp_nsecs": {},
    "custom_metadata": "x",
}


@pytest.mark.parametrize(("field", "value"), OTHER_TYPES.items())
def test_notes_of_another_type_name_their_step(run, field, value):
    """Orbax would refuse them without a word of which checkpoint they are."""
    notes = run / "checkpoints/9/_CHECKPOINT_METADATA"
    content = json.loads(notes.read_text())
    assert set(content) == set(OTHER_TYPES)
    notes.write_text(json.dumps({**content, field: value}))
    message = refused(run, rf"checkpoints/9 is damaged: .*_METADATA: {field} is .* step 6 is whole")
    if field == "metrics":
        follow(message)
        assert restore(run) == 6


def test_notes_may_lack_fields_and_name_classes_that_are_not_run(run):
    """No class is imported because a checkpoint names it."""
    notes = run / "checkpoints/9/_CHECKPOINT_METADATA"
    for content in ({}, {"item_handlers": {"state": "os.system"}}, {"item_handlers": "this.s"}):
        notes.write_text(json.dumps(content))
        assert restore(run) == 9
    assert "this" not in sys.modules


def mutate(path, seed):
    """Removes, empties, shortens, overwrites or flips one bit of the file; returns whether it changed."""
    chosen = random.Random(f"{path.name} {seed}")
    before = path.read_bytes()
    content = bytearray(before)
    match chosen.randrange(5):
        case 0:
            path.unlink()
            return True
        case 1:
            content = bytearray()
        case 2:
            content = content[: len(content) // 2]
        case 3:
            content = bytearray(chosen.randbytes(max(8, len(content))))
        case 4 if content:
            content[chosen.randrange(len(content))] ^= 1 << chosen.randrange(8)
    path.write_bytes(content)
    return bytes(content) != before


@pytest.mark.parametrize("has_list", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_seeded_mutations_of_every_file(saved, tmp_path, has_list):
    """With hashes every change is found. Without, as an older version saved: one line, or the right type."""
    files = [path.relative_to(saved) for path in saved.rglob("9/**/*") if path.is_file()]
    hashed = [name for name in files if name.name not in ("commit_success.txt", LIST)]
    assert len(hashed) > 10
    for seed in range(2 if has_list else 8):
        for name in hashed:
            run = shutil.copytree(saved, tmp_path / "run")
            if not has_list:
                (run / "checkpoints/9" / LIST).unlink()
            is_changed = mutate(run / name, seed)
            problem = problem_of(run)
            assert problem is None or "step 6 is whole" in problem
            if has_list and name.name != "_CHECKPOINT_METADATA":
                assert (problem is not None) == is_changed, (name, seed)
            shutil.rmtree(run)


def problem_of(run):
    """Returns the message with which the latest state is refused, or None if it is restored."""
    try:
        with Checkpoints(run, Keep(latest=3)) as checkpoints:
            checkpoints.restore_latest(state(0))
    except InputError as error:
        return str(error)
    return None


def json_paths(value, path=()):
    """The paths of all values inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in items:
        yield (*path, name)
        if isinstance(part, (dict, list)):
            yield from json_paths(part, (*path, name))


def test_edited_metadata_without_hashes(saved, tmp_path):
    """Any edit of Orbax's `_METADATA` in a checkpoint of an older version is one line, or harmless."""
    metadata = json.loads((saved / "checkpoints/9/state/_METADATA").read_text())
    run = shutil.copytree(saved, tmp_path / "run")
    (run / "checkpoints/9" / LIST).unlink()
    file = run / "checkpoints/9/state/_METADATA"
    paths, chosen = list(json_paths(metadata)), random.Random(0)
    with Checkpoints(run, Keep(latest=3), read_only=True) as checkpoints:
        for _ in range(25):
            edited = json.loads(json.dumps(metadata))
            *outer, last = chosen.choice(paths)
            inner = edited
            for name in outer:
                inner = inner[name]
            if chosen.random() < 0.4:
                del inner[last]
            else:
                inner[last] = chosen.choice([None, -1, "x", [], {}, 10**9, True])
            file.write_text(json.dumps(edited))
            with contextlib.suppress(InputError):  # anything else is a traceback
                restored = checkpoints.restore_latest(state(0))
                assert restored.model["kernel"].tolist() == [9.0] * 4


def test_an_empty_run_has_no_steps(tmp_path):
    check_folder(tmp_path / "checkpoints")
    assert complete_steps(tmp_path / "checkpoints") == []
    (tmp_path / "checkpoints").mkdir()
    check_folder(tmp_path / "checkpoints")
    assert restore(tmp_path) is None
