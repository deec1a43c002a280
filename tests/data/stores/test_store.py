"""Files and prepared sets on a local S3 server, with faults: slow, 500, cut off, silently truncated."""

import threading
import time

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFile

from jaxssl.data.prepared.manifest import read_manifest
from jaxssl.data.prepared.summaries import summary_of_rows
from jaxssl.data.preparing.texts import prepare
from jaxssl.data.progress import TextProgress
from jaxssl.data.rows import Rows, open_rows
from jaxssl.data.stores import store as stores
from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.store import (
    Missing,
    Store,
    cache_folder,
    fetched,
    folder_here,
    in_parallel,
    is_url,
)
from jaxssl.errors import InputError

QUIET = TextProgress(silent=True)
FAULTS = dict(enumerate(["slow", "error", "cut", "truncated", "", "truncated", "error"], 1))


def contents(reader, steps):
    return [reader.batch(step)["tokens"] for step in steps]


def test_what_is_read_is_whole_whatever_the_network_does(s3, bucket, tmp_path):
    store, content = Store(bucket), np.arange(50_000).tobytes()
    (tmp_path / "content").write_bytes(content)
    s3.faults.plan({1: "error", 3: "slow", 4: "error"}, "PUT")
    store.upload(tmp_path / "content", "below/file")
    assert s3.faults.injected[:1] == ["error"]
    store.write_json("json", {"a": [1, "ü"]})
    s3.faults.plan({1: "truncated", 2: "cut", 3: "error"}, "GET /.*json")
    assert store.read_json("json") == {"a": [1, "ü"]}
    assert s3.faults.injected == ["truncated", "cut", "error"]
    s3.faults.plan(FAULTS, "GET /.*file")
    store.download("below/file", tmp_path / "read", len(content))
    store.download(
        "below/file", tmp_path / "again", len(content), file_sha256(tmp_path / "content")
    )
    assert (tmp_path / "read").read_bytes() == (tmp_path / "again").read_bytes() == content
    assert {"slow", "error", "cut", "truncated"} <= set(s3.faults.injected)
    assert store.sizes() == {"below/file": len(content), "json": 26}
    assert Store(f"{bucket}/belo").sizes() == {}
    store.delete(["json", "never there"])
    assert not store.exists("json")
    assert store.exists("below/file")


@pytest.mark.slow
def test_what_stays_broken_gets_one_line(s3, bucket, tmp_path):
    store = Store(bucket)
    store.write_json("file", "content")
    with pytest.raises(InputError, match=f"{bucket}/file could not be read in 7 attempts.*sha256"):
        store.download("file", tmp_path / "file", 9, "0" * 64)
    with pytest.raises(Missing, match=f"{bucket}/none does not exist"):
        store.read_json("none")
    s3.faults.is_down = True
    for call in (store.sizes, lambda: store.exists("file"), lambda: store.write_json("x", 1)):
        with pytest.raises(
            InputError, match=f"{bucket}.* in 7 attempts .*run the same command"
        ) as told:
            call()
        assert "\n" not in str(told.value)


ESCAPES = ["../../escaped", "/tmp/escaped", "a/../../escaped", "a//b", "a\\..\\b", "C:/escaped"]


@pytest.mark.parametrize("key", ESCAPES)
def test_a_key_never_becomes_a_path_outside(key, tmp_path):
    """Such keys are possible on object stores; nothing is written then, inside or outside."""
    files, root = fsspec.filesystem("memory"), "/escapes/run"
    files.store.clear()
    for name in ("good", key):
        files.store[f"{root}/{name}"] = files_of_memory(files, f"{root}/{name}")
    store = Store("memory://escapes/run")
    calls = (
        store.sizes,
        lambda: store.download_all({"good": 1, key: 1}, tmp_path / "a" / "b"),
        lambda: store.download(key, tmp_path / "x", 1),
        lambda: store.read_json(key),
        lambda: store.write_json(key, 1),
        lambda: store.delete([key]),
        lambda: fetched(store.url).__enter__(),
    )
    for call in calls:
        with pytest.raises(InputError, match="not a plain relative name"):
            call()
    assert not list(tmp_path.rglob("escaped"))
    assert f"{root}/{key}" in files.store
    files.store.clear()


def files_of_memory(files, path):
    """An object of memory:// under any key, which `pipe` would clean up."""
    return MemoryFile(files, path, b"1")


def test_objects_that_stand_for_folders_are_no_files():
    files = fsspec.filesystem("memory")
    files.store.clear()
    for name in ("a/", "a/b"):
        files.store[f"/markers/{name}"] = files_of_memory(files, f"/markers/{name}")
    assert Store("memory://markers").sizes() == {"a/b": 1}
    files.store.clear()


def test_a_missing_package_is_named(monkeypatch):
    def refuse(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(stores.fsspec.core, "url_to_fs", refuse)
    with pytest.raises(InputError, match=r"s3://b/x: .* pip install s3fs"):
        Store("s3://b/x")
    with pytest.raises(InputError, match=r"pip install gcsfs"):
        Store("gs://b/x")


@pytest.mark.parametrize("url", ["nonsense://b/x", "foo://x", "://x", "s3 ://x"])
def test_a_protocol_that_nobody_knows(url):
    with pytest.raises(InputError, match="is no URL of a store") as told:
        Store(url)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("url", ["s3://", "s3:///", "gs://", "memory://"])
def test_an_address_without_a_bucket(url):
    with pytest.raises(InputError, match="names no bucket and no folder; write .*://BUCKET/FOLDER"):
        Store(url)


@pytest.fixture
def stalled(monkeypatch, tmp_path):
    """A store on which every call waits, until the test is over; an attempt may take 0.02 s."""
    monkeypatch.setenv("JAXSSL_STORE_TIMEOUT", "0.02")
    monkeypatch.setattr(stores, "PAUSE", 0.001)
    leave, store = threading.Event(), Store("memory://stalled/folder")
    store.write_json("file", 1)
    for name in ("cat_file", "info", "find", "put_file", "pipe_file", "rm_file"):
        monkeypatch.setattr(store._files, name, lambda *_, **__: leave.wait(20))
    yield store
    leave.set()


def test_calls_that_stall_end_in_one_line(stalled, tmp_path):
    (tmp_path / "file").write_text("content")
    calls = (
        stalled.sizes,
        lambda: stalled.exists("file"),
        lambda: stalled.read_json("file"),
        lambda: stalled.download("file", tmp_path / "x", 1),
        lambda: stalled.upload(tmp_path / "file", "x"),
        lambda: stalled.write_json("x", 1),
        lambda: stalled.delete(["file"]),
    )
    for call in calls:
        began = time.monotonic()
        with pytest.raises(
            InputError, match=r"in 3 attempts .*no progress .*set JAXSSL_STORE_TIMEOUT to more"
        ) as told:
            call()
        assert time.monotonic() - began < 5
        assert "\n" not in str(told.value)


def test_a_large_file_comes_in_pieces(monkeypatch, tmp_path):
    monkeypatch.setattr(stores, "PIECE", 1000)
    monkeypatch.setattr(stores, "PAUSE", 0.001)
    store = Store("memory://pieces")
    for size in (0, 1, 999, 1000, 1001, 2000, 2500):
        content = np.arange(size).astype(np.uint8).tobytes()
        (tmp_path / "file").write_bytes(content)
        store.upload(tmp_path / "file", "file")
        store.download("file", tmp_path / "read", size)
        assert (tmp_path / "read").read_bytes() == content
    with pytest.raises(InputError, match="2,500 of 2,400 bytes came"):
        store.download("file", tmp_path / "read", 2400)
    with pytest.raises(InputError, match="2,500 of 2,600 bytes came"):
        store.download("file", tmp_path / "read", 2600)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_batches_are_those_from_disk_under_faults(s3, there, local, split):
    here = open_rows(Rows(str(local), batch=8), split, seed=3)
    s3.faults.plan(
        {n: fault for n, fault in enumerate(4 * list(FAULTS.values()), 1) if n % 3}, "GET /"
    )
    stored = open_rows(Rows(there, batch=8), split, seed=3)
    steps = (1_000_000_007, 5, 0, 77)
    np.testing.assert_array_equal(contents(stored, steps), contents(here, steps))
    assert len(set(s3.faults.injected)) == 4
    assert stored.fingerprint == here.fingerprint
    assert stored.documents(stored.row_ids(2)) == here.documents(here.row_ids(2))
    s3.faults.is_down = True  # what is here needs no network
    np.testing.assert_array_equal(contents(stored, steps), contents(here, steps))


def test_prepared_there_as_here(s3, bucket, config, local, tmp_path):
    url = f"{bucket}/prepared/new"
    with pytest.raises(InputError, match="jaxssl prepare SOURCE --into s3://"):
        open_rows(Rows(url), seed=0)
    s3.faults.plan(dict.fromkeys(range(9, 999), "error"), "PUT /")
    with pytest.raises(InputError, match="could not be written in 7 attempts"):
        prepare(config, url, QUIET)
    s3.faults.clear()
    with pytest.raises(InputError, match="is half-written .* run the same `jaxssl prepare`"):
        open_rows(Rows(url), seed=0)
    began = {p.name: p.stat().st_mtime_ns for p in folder_here(url, "prepared").iterdir()}
    s3.faults.plan({2: "error", 5: "slow"}, "PUT /")
    assert prepare(config, url, QUIET) == read_manifest(local)
    assert began, "what was prepared is kept until it is there"
    assert not folder_here(url, "prepared").exists()
    files = {p.relative_to(local).as_posix(): p for p in local.rglob("*") if p.is_file()}
    assert Store(url).sizes() == {name: path.stat().st_size for name, path in files.items()}
    for name, path in files.items():
        Store(url).download(name, tmp_path / "file", path.stat().st_size, file_sha256(path))
    assert prepare(config, url, QUIET) == read_manifest(url)  # there already
    assert (
        summary_of_rows(read_manifest(url), url).splitlines()[1:-1]
        == (summary_of_rows(read_manifest(local), local).splitlines()[1:-1])
    )
    Store(f"{bucket}/other").write_json("notes", "mine")
    with pytest.raises(InputError, match="contains other files"):
        prepare(config, f"{bucket}/other", QUIET)


def test_urls_and_their_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXSSL_CACHE", str(tmp_path))
    assert [is_url(path) for path in ("s3://a/b", "a/b", tmp_path)] == [True, False, False]
    assert cache_folder() == tmp_path
    assert folder_here("a/b", "runs").as_posix() == "a/b"
    first, second = (folder_here(f"s3://{bucket}/x/", "runs") for bucket in "ab")
    assert first.parent == tmp_path / "runs"
    assert first.name.startswith("x-")
    assert first != second
    assert first == folder_here("s3://a/x", "runs")
    monkeypatch.delenv("JAXSSL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "jaxssl"


def test_a_folder_is_fetched_for_a_while(tmp_path):
    store = Store("memory://fetched/folder")
    (tmp_path / "a").write_text("content")
    store.upload(tmp_path / "a", "below/a")
    with fetched(store.url) as folder:
        assert (folder / "below" / "a").read_text() == "content"
    assert not folder.exists()
    with (
        pytest.raises(Missing, match="memory://fetched/none does not exist"),
        fetched("memory://fetched/none"),
    ):
        pass


def test_the_first_error_of_many_calls_is_raised():
    done = []

    def call(name):
        if name == "bad":
            raise InputError("bad is bad")
        done.append(name)

    in_parallel(call, ["a", "b"])
    assert sorted(done) == ["a", "b"]
    with pytest.raises(InputError, match="bad is bad"):
        in_parallel(call, ["bad", *"cdef"])
