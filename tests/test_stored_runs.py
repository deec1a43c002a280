"""The real run with rows and run folder on a local S3 server, with faults: as from disk, bitwise."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

import train
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.stores.shard_cache import GIB
from jaxssl.data.stores.store import Store
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.checkpoint import digest
from jaxssl.runs.mirror import local_steps
from jaxssl.runs.stored_runs import StoredRun, opened, run_folder
from jaxssl.tools.errors import one_line_errors
from jaxssl.training.loss_picture import read_metrics
from tests.data.tiny_corpus import Words, write_vocabulary
from tests.shrink import LENGTH, shrink
from tests.test_train import QUICK, state_digest, stop_after


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A prepared set of some shards."""
    folder = tmp_path_factory.mktemp("words")
    config = Prepare(
        Words(80), LENGTH, write_vocabulary(folder), valid=0.2, shard_characters=4_000, workers=1
    )
    prepare(config, folder / "rows")
    return folder / "rows"


@pytest.fixture
def batches(monkeypatch):
    """Every global batch that a step was given, in order."""
    seen, place = [], train.place_batch
    monkeypatch.setattr(
        train, "place_batch", lambda rows, *more: place(seen.append(rows) or rows, *more)
    )
    return seen


def copy(folder, url):
    for path in folder.rglob("*"):
        if path.is_file():
            Store(url).upload(path, path.relative_to(folder).as_posix())
    return url


@pytest.mark.slow
def test_a_run_from_s3_equals_the_one_from_disk(s3, bucket, rows, tmp_path, batches):
    """Stopped, its folder here lost, gone on; faults all the while; a cache that holds half of the rows."""
    whole = shrink(QUICK, str(rows), tmp_path / "whole", steps=6, save_every=2)
    train.run(whole)
    expected, batches[:] = list(batches), []
    files = [path for path in rows.iterdir() if path.suffix == ".array_record"]
    half = sum(path.stat().st_size for path in files) / 2
    url = f"{bucket}/runs/x"
    stored = dataclasses.replace(
        whole,
        run=url,
        data=dataclasses.replace(
            whole.data, path=copy(rows, f"{bucket}/rows"), cache_gib=half / GIB
        ),
    )
    faults = ["slow", "error", "", "truncated", "", "cut", "", "error", ""]
    s3.faults.plan({7 * n: fault for n, fault in enumerate(8 * faults, 1)})
    stop_after(3, stored)
    assert s3.faults.count > 7, "nothing went to the server"
    shutil.rmtree(run_folder(url))
    train.run(stored)
    assert {"slow", "error", "truncated", "cut"} <= set(s3.faults.injected)
    assert state_digest(url) == state_digest(tmp_path / "whole")
    jax.tree.map(np.testing.assert_array_equal, batches, expected)
    shards = [path for path in (tmp_path / "cache/shards").iterdir() if path.name != "lock"]
    assert 0 < sum(path.stat().st_size for path in shards) <= half

    s3.faults.clear()
    assert StoredRun(url).steps.keys() == local_steps(run_folder(url)).keys()
    with opened(url) as (folder, _):
        assert [r["step"] for r in read_metrics(folder, "train")] == [1, 2, 3, 4, 5, 6]
        assert (folder / "loss.png").stat().st_size > 1000
    there, here = load_pretrained(url), load_pretrained(tmp_path / "whole")
    assert (there.step, digest(there.model)) == (here.step, digest(here.model))


@pytest.mark.slow
def test_a_store_that_dies_takes_no_checkpoint_with_it(s3, bucket, rows, capsys, monkeypatch):
    url = f"{bucket}/runs/y"
    config = shrink(QUICK, str(rows), url)
    make_step = train.make_step

    def dying(*arguments):
        s3.faults.is_down = True
        return make_step(*arguments)

    monkeypatch.setattr(train, "make_step", dying)
    with pytest.raises(SystemExit) as left, one_line_errors():
        train.run(config)
    assert left.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith(f"error: {url}/")
    assert "in 7 attempts" in line
    assert f"The run is whole in {run_folder(url)}" in line
    assert state_digest(url)[0] == 2
    monkeypatch.setattr(train, "make_step", make_step)
    with pytest.raises(SystemExit), one_line_errors():  # dead at the begin: nothing is trained
        train.run(config)
    s3.faults.clear()
    assert StoredRun(url).steps == {}
    train.run(config)
    assert list(StoredRun(url).steps) == ["checkpoints/2"]
