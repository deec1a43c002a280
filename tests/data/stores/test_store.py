"""Files and prepared sets on a local S3 server, with faults: slow, 500, cut off, silently truncated."""

import contextlib
import threading

import numpy as np
import pytest

from jaxssl.data.prepared.manifest import read_manifest
from jaxssl.data.prepared.summaries import summary_of_rows
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.progress import TextProgress
from jaxssl.data.rows import Rows, open_rows
from jaxssl.data.stores import store as stores
from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.shard_cache import GIB, ShardCache, Wanted
from jaxssl.data.stores.store import Missing, Store, folder_here
from jaxssl.errors import InputError
from tests.data.tiny_corpus import Words, write_vocabulary

QUIET = TextProgress(silent=True)
FAULTS = dict(enumerate(["slow", "error", "cut", "truncated", "", "truncated", "error"], 1))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    vocabulary = write_vocabulary(tmp_path_factory.mktemp("vocabulary"))
    return Prepare(
        Words(120), length=32, tokenizer=vocabulary, valid=0.3, shard_characters=3_000, workers=1
    )


@pytest.fixture(scope="module")
def local(config, tmp_path_factory):
    """A prepared set on disk: several shards of each split."""
    folder = tmp_path_factory.mktemp("prepared") / "set"
    prepare(config, folder, QUIET)
    return folder


@pytest.fixture
def there(bucket, local):
    """The same set on the server."""
    store = Store(f"{bucket}/prepared/set")
    for path in local.rglob("*"):
        if path.is_file():
            store.upload(path, str(path.relative_to(local)))
    return store.url


def contents(reader, steps):
    return [reader.batch(step)["tokens"] for step in steps]


def size_of(folder):
    """Bytes of all files, of whatever kind."""
    total = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


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


def test_a_missing_package_is_named(monkeypatch):
    def refuse(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(stores.fsspec.core, "url_to_fs", refuse)
    with pytest.raises(InputError, match=r"s3://b/x: .* pip install 'jaxssl\[s3\]'"):
        Store("s3://b/x")
    with pytest.raises(InputError, match=r"pip install 'jaxssl\[gcs\]'"):
        Store("gs://b/x")


def test_a_protocol_that_nobody_knows():
    with pytest.raises(InputError, match="nonsense://b/x is no URL of a store"):
        Store("nonsense://b/x")


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


def test_the_cache_stays_under_its_bound(s3, there, local, tmp_path, monkeypatch):
    """Room for two shards, which are fetched again and again; the folder is looked at around each."""
    shards = read_manifest(local).splits["train"]
    sizes = [(local / name).stat().st_size for s in shards for name in (s.file, s.documents_file)]
    assert len(shards) > 4
    limit, seen, download = int(2.5 * max(sizes)), [], Store.download

    def watched(*arguments):
        seen.append(size_of(tmp_path / "cache"))
        download(*arguments)
        seen.append(size_of(tmp_path / "cache"))

    monkeypatch.setattr(Store, "download", watched)
    rows = Rows(there, batch=8, cache=str(tmp_path / "cache"), cache_gib=limit / GIB)
    stored, here = (open_rows(which, seed=3) for which in (rows, Rows(str(local), batch=8)))
    np.testing.assert_array_equal(contents(stored, range(20)), contents(here, range(20)))
    assert len(seen) > 40, "nothing was fetched twice: the bound was no bound"
    assert max(seen) <= limit
    assert stored.stored_bytes > limit  # what `announce` warns of
    tight = Rows(there, batch=8, cache=str(tmp_path / "tight"), cache_gib=100 / GIB)
    with pytest.raises(
        InputError, match=r"a shard of s3://.* the cache holds 100; set data.cache_gib to 0.1"
    ):
        open_rows(tight, seed=3)


def test_a_cache_that_several_share(there, local, tmp_path):
    """Four readers, as of four processes: locks of a file are of its descriptor, not of a process."""
    shards = read_manifest(local).splits["train"]
    wanted = [
        Wanted(Store(there), s.file, s.sha256, (local / s.file).stat().st_size) for s in shards
    ]
    limit = int(4.5 * max(w.size for w in wanted))
    problems, most = [], [0]

    def work(number):
        cache = ShardCache(tmp_path / "shared", limit)
        random = np.random.default_rng(number)
        try:
            for i in random.integers(0, len(wanted), 25):
                with cache.file(wanted[i]) as path:
                    assert file_sha256(path) == wanted[i].sha256
                    most[0] = max(most[0], size_of(tmp_path / "shared"))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert 0 < most[0] <= limit


def test_what_a_dead_process_left_makes_room(there, local, tmp_path):
    shard = read_manifest(local).splits["train"][0]
    wanted = Wanted(Store(there), shard.file, shard.sha256, (local / shard.file).stat().st_size)
    cache = ShardCache(tmp_path / "cache", wanted.size)
    (tmp_path / "cache" / f"{'0' * 64}.7.partial").touch()
    (tmp_path / "cache" / f"{'0' * 64}.7.arriving").write_bytes(b"half")
    with cache.file(wanted):
        assert {path.name for path in (tmp_path / "cache").iterdir()} == {"lock", shard.sha256}


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
