"""Files of a set: what is damaged or missing is named, and an upload copies what is not there yet."""

import pytest

from jaxssl.data.prepared.files import file_sizes, upload_set, verify_shards
from jaxssl.data.prepared.manifest import MANIFEST, UPLOADING, read_manifest
from jaxssl.data.rows import Rows, open_rows
from jaxssl.data.stores.store import Store
from jaxssl.errors import InputError


@pytest.mark.parametrize("kind", ["array_record", "npz"])
def test_a_corrupt_shard_is_named(folder, kind):
    path = sorted(folder.glob(f"train-*.{kind}"))[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path.name} is corrupt.*restore it or prepare"):
        verify_shards(folder, read_manifest(folder), "train")
    verify_shards(folder, read_manifest(folder), "valid")  # the other split is undamaged
    with pytest.raises(InputError, match="is corrupt"):
        open_rows(Rows(str(folder)), seed=0)
    open_rows(Rows(str(folder)), seed=0, verify=False)


def test_a_missing_shard_is_named(folder):
    path = sorted(folder.glob("train-*.array_record"))[-1]
    path.unlink()
    manifest = read_manifest(folder)
    for check in (verify_shards, file_sizes):
        with pytest.raises(InputError, match=f"{path.name} is missing; restore it"):
            check(folder, manifest, "train")


def test_sizes_are_those_of_the_files(whole):
    sizes = file_sizes(whole, read_manifest(whole), "train")
    files = list(whole.glob("train-*"))
    assert sizes == {path.name: path.stat().st_size for path in files}
    assert len(sizes) > 2


def test_an_upload_goes_on_where_it_stopped(whole, monkeypatch):
    store = Store("memory://files/set")
    sent, upload = [], Store.upload

    def stops(self, path, name):
        if len(sent) == stop_after:
            raise KeyboardInterrupt
        sent.append(name)
        upload(self, path, name)

    monkeypatch.setattr(Store, "upload", stops)
    monkeypatch.setattr("jaxssl.data.stores.store.PARALLEL", 1)
    files = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    print_of_set = read_manifest(whole).fingerprint
    store.write_json("stale.json", "of a set that was here before")
    stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        upload_set(whole, store, print_of_set)
    assert UPLOADING in store.sizes()
    assert MANIFEST not in store.sizes()
    stop_after = None
    upload_set(whole, store, print_of_set)
    assert sorted(sent) == sorted(files)  # each file once
    assert sent[-1] == MANIFEST
    assert store.sizes().keys() == files  # neither the marker nor the stale file is left
