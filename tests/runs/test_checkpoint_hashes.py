"""Every file of a checkpoint is hashed before the checkpoint is complete, and compared before it is used."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxssl.data.stores.json_files import write_json
from jaxssl.runs.checkpoint import Checkpoints, Keep
from jaxssl.runs.checkpoint_hashes import (
    LIST,
    OF_HOST,
    TEMPORARY,
    _hashed,
    _host,
    damage,
    write_list,
)
from tests.runs.small_states import state


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a checkpoint of step 6, beside one of step 3."""
    run = tmp_path_factory.mktemp("run")
    with Checkpoints(run, Keep(latest=2)) as checkpoints:
        for step in (3, 6):
            checkpoints.save(state(step), {"loss": 1.0 / step})
    return run / "checkpoints" / "6"


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "6")


def test_all_files_are_listed(saved):
    listed = json.loads((saved / LIST).read_text())
    assert listed["step"] == 6
    files = {str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file()}
    left_out = {name for name in files if name.endswith(("commit_success.txt", LIST))}
    assert set(listed["files"]) == files - left_out - {"_CHECKPOINT_METADATA"}
    assert "metrics/metrics" in listed["files"]
    assert any("ocdbt.process_0/d/" in name for name in listed["files"])
    assert damage(saved) is None


def test_a_flipped_bit_is_found_by_the_share_that_hashes_it(folder):
    names = sorted(json.loads((folder / LIST).read_text())["files"])
    name = next(name for name in names if "/d/" in name)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 4
    (folder / name).write_bytes(content)
    assert damage(folder) == f"{name} has another sha256 than it was saved with"
    found = [damage(folder, part=part, parts=3) for part in range(3)]
    assert [problem is not None for problem in found] == [
        names.index(name) % 3 == part for part in range(3)
    ]


def test_a_missing_or_short_file_is_named(folder):
    (folder / "state" / "_METADATA").write_bytes(b"{}")
    assert "state/_METADATA has 2 bytes and was saved with" in damage(folder)
    (folder / "state" / "_METADATA").unlink()
    assert damage(folder) == "state/_METADATA is missing"
    (folder / "state" / "_METADATA").mkdir()
    assert damage(folder) == "state/_METADATA is missing"


def test_another_step_is_named(folder):
    assert damage(folder.rename(folder.with_name("500"))) == (
        "it holds step 6; its folder has been renamed"
    )


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"step": 6}', b'{"step": -1, "files": {}}']
)
def test_a_damaged_list_is_named(folder, content):
    (folder / LIST).write_bytes(content)
    assert LIST in damage(folder)


def test_without_a_list_the_names_are_compared(folder):
    """As in a checkpoint of an earlier version."""
    (folder / LIST).unlink()
    assert damage(folder) is None
    shutil.rmtree(folder / "state")
    assert damage(folder) == "state/_METADATA is missing"


def test_the_hashes_are_there_when_the_checkpoint_is(tmp_path):
    """Orbax renames the folder last, so that no complete checkpoint is without its list."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state(1))
        checkpoints.wait()
        listed = (tmp_path / "checkpoints" / "1" / LIST).stat().st_mtime_ns
    committed = json.loads((tmp_path / "checkpoints/1/_CHECKPOINT_METADATA").read_text())
    assert listed <= committed["commit_timestamp_nsecs"]


def test_the_first_host_joins_what_every_host_has_hashed(tmp_path):
    """The files of the others are not read again: on a store of their own they may not be there yet."""
    folder = tmp_path / f"4{TEMPORARY}-1"
    names = [f"ocdbt.process_{host}/d/a" for host in range(2)]
    names += [f"array_metadatas/process_{host}" for host in range(2)] + ["_METADATA", "manifest"]
    for name in names:
        (folder / "state" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "state" / name).write_text(name)
    assert [_host(Path(name)) for name in names] == ["process_0", "process_1"] * 2 + ["", ""]
    (folder / "_CHECKPOINT_METADATA").touch()
    for host in range(2):
        own = {
            n: _hashed(folder / "state" / n) for n in names if _host(Path(n)) == f"process_{host}"
        }
        write_json(folder / "state" / f"process_{host}{OF_HOST}", own)
    write_list(tmp_path, 4)
    assert not list(folder.glob(f"state/process_*{OF_HOST}"))
    whole = folder.rename(tmp_path / "4")
    assert damage(whole) is None
    for name in names:
        (whole / "state" / name).write_text(name[::-1])
        assert damage(whole) == f"state/{name} has another sha256 than it was saved with"
        (whole / "state" / name).write_text(name)


def test_arrays_over_several_devices_are_hashed(tmp_path):
    mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4])
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    before = state(2)
    kernel = jax.device_put(jnp.arange(8.0), sharding)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(type(before)(before.step, {"kernel": kernel}))
        checkpoints.wait()
        assert damage(tmp_path / "checkpoints" / "2") is None
        found = checkpoints.restore_latest(type(before)(before.step, {"kernel": jnp.zeros(8)}))
    assert found.model["kernel"].tolist() == list(range(8))
