"""The cache of shards: below its limit at every moment, shared by many readers, rid of what died."""

import contextlib
import threading
import time

import numpy as np
import pytest

from jaxssl.data.prepared.manifest import read_manifest
from jaxssl.data.rows import Rows, open_rows
from jaxssl.data.stores import shard_cache as cache_module
from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.shard_cache import GIB, ShardCache, Wanted, shard_cache
from jaxssl.data.stores.store import Store
from jaxssl.errors import InputError


def contents(reader, steps):
    return [reader.batch(step)["tokens"] for step in steps]


def size_of(folder):
    """Bytes of all files, of whatever kind."""
    total = 0
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


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


@pytest.fixture
def wanted(tmp_path):
    """Three files of 100 bytes each on an object store in memory."""
    store, files = Store("memory://cached"), []
    for number in range(3):
        path = tmp_path / f"{number}"
        path.write_bytes(bytes([number]) * 100)
        store.upload(path, path.name)
        files.append(Wanted(store, path.name, file_sha256(path), 100))
    return files


def names(cache):
    return {path.name for path in cache.folder.iterdir()} - {"lock"}


def test_the_least_recently_used_file_goes_first(wanted, tmp_path):
    cache = ShardCache(tmp_path / "cache", 250)
    for number in (0, 1, 0, 2):
        with cache.file(wanted[number]) as path:
            assert path.read_bytes() == bytes([number]) * 100
        time.sleep(0.02)  # file systems round the time of use
    assert names(cache) == {wanted[0].sha256, wanted[2].sha256}


def test_a_file_in_use_is_never_removed(wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "PATIENCE", 0.0)
    cache = ShardCache(tmp_path / "cache", 150)
    with (
        cache.file(wanted[0]) as path,
        pytest.raises(InputError, match="100 bytes for memory://cached/1 .* set data.cache_gib"),
        cache.file(wanted[1]),
    ):
        pass
    assert path.exists()
    with cache.file(wanted[1]):
        assert names(cache) == {wanted[1].sha256}


OTHERS_NAMES = ["thesis.tex", "lock", "0" * 63, "0" * 64 + ".txt", "notes.partial", "a.5.partial"]


def test_files_of_others_are_left_alone(wanted, tmp_path):
    """A cache folder may be any folder; what is there counts for nothing and is never removed."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in OTHERS_NAMES:
        (folder / name).write_text("mine" * 100)
    cache = ShardCache(folder, 150)
    for file in wanted:
        with cache.file(file) as path:
            assert path.stat().st_size == 100
    assert names(cache) | {"lock"} == {*OTHERS_NAMES, wanted[-1].sha256}
    assert all((folder / name).read_text() == "mine" * 100 for name in OTHERS_NAMES)


@pytest.mark.parametrize("sha256", ["", "../secret", "/etc/hostname", "0" * 63, "A" * 64, None, 5])
def test_a_hash_that_is_none_becomes_no_path(sha256, tmp_path):
    with pytest.raises(InputError, match="expected 64 hexadecimal digits"):
        Wanted(Store("memory://cached"), "file", sha256, 1)
    with pytest.raises(InputError, match="not a plain relative name"):
        Wanted(Store("memory://cached"), "../file", "0" * 64, 1)


def test_a_file_that_has_just_arrived_counts_once(wanted, tmp_path):
    """Its reservation is removed a moment after it has its name; nothing is removed for that moment."""
    cache = ShardCache(tmp_path / "cache", 200)
    with cache.file(wanted[0]) as path:
        pass
    path.with_name(f"{path.name}.100.partial").touch()
    with cache.file(wanted[1]):
        assert path.exists()


def test_a_file_that_was_cut_is_fetched_again(wanted, tmp_path):
    cache = ShardCache(tmp_path / "cache", 250)
    with cache.file(wanted[0]):
        pass
    (tmp_path / "cache" / wanted[0].sha256).write_bytes(b"cut")
    with cache.file(wanted[0]) as path:
        assert file_sha256(path) == wanted[0].sha256


def test_a_file_that_was_cut_and_is_in_use(wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "PATIENCE", 0.0)
    cache = ShardCache(tmp_path / "cache", 250)
    with cache.file(wanted[0]) as path:
        path.write_bytes(b"cut")
        with pytest.raises(InputError, match="has changed since it was downloaded"):
            cache.file(wanted[0]).__enter__()


def test_all_are_fetched_at_once_or_none(wanted, tmp_path):
    cache = ShardCache(tmp_path / "cache", 300)
    cache.fetch_all(wanted)
    assert names(cache) == {file.sha256 for file in wanted}
    small = ShardCache(tmp_path / "small", 250)
    small.fetch_all(wanted)
    assert names(small) == set()


def test_a_process_has_one_cache_for_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSSL_CACHE", str(tmp_path / "own"))
    cache = shard_cache(str(tmp_path / "a"), 0.5)
    assert shard_cache(str(tmp_path / "a"), 0.5) is cache
    assert (cache.folder, cache.limit) == (tmp_path / "a", GIB // 2)
    assert shard_cache("", 0.25).folder == tmp_path / "own" / "shards"
