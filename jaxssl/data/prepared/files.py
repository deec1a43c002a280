"""The files of a prepared set as a whole: are they there and undamaged, how large, and their upload."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jaxssl.data.prepared.manifest import MANIFEST, UPLOADING, SetManifest
from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.lease import LEASE
from jaxssl.data.stores.store import Store, in_parallel, is_url
from jaxssl.errors import InputError


def verify_shards(folder: str | Path, manifest: SetManifest, split: str) -> None:
    """Reads every file of a split and compares its sha256, at about 1 GB/s and core.

    Args:
      folder: Local folder of the set.
      manifest: Its manifest.
      split: "train" or "valid".

    Raises:
      InputError: A file is missing or damaged; the message names the first one.
    """

    def find_problem(shard: Any) -> str | None:
        for name, expected in (
            (shard.file, shard.sha256),
            (shard.documents_file, shard.documents_sha256),
        ):
            path = Path(folder) / name
            if not path.is_file():
                return f"shard {path} is missing"
            if (found := file_sha256(path)) != expected:
                return f"shard {path} is corrupt: its sha256 is {found[:12]}…, not {expected[:12]}…"
        return None

    with ThreadPoolExecutor(os.cpu_count()) as threads:  # hashlib releases the interpreter lock
        for problem in threads.map(find_problem, manifest.splits[split]):
            if problem:
                raise InputError(f"{problem}; restore it or prepare the set anew")


def file_sizes(folder: str | Path, manifest: SetManifest, split: str) -> dict[str, int]:
    """Returns the sizes of the files of a split, in bytes, by file name.

    Args:
      folder: Folder of the set, local or a URL of an object store.
      manifest: Its manifest.
      split: "train" or "valid".

    Raises:
      InputError: A file is missing.
    """
    names = [name for s in manifest.splits[split] for name in (s.file, s.documents_file)]
    if is_url(folder):
        present = Store(folder).sizes()
    else:
        paths = {name: Path(folder) / name for name in names}
        present = {name: path.stat().st_size for name, path in paths.items() if path.is_file()}
    if missing := [name for name in names if name not in present]:
        raise InputError(
            f"shard {folder}/{missing[0]} is missing; restore it or prepare the set anew"
        )
    return {name: present[name] for name in names}


def _fingerprint_of_upload(store: Store) -> Any:
    """Returns the fingerprint of the set whose upload was begun; None if the marker is damaged."""
    try:
        return store.read_json(UPLOADING, dict[str, Any]).get("fingerprint")
    except InputError:
        return None


def upload_set(folder: Path, store: Store, fingerprint: str) -> None:
    """Copies a prepared set to an object store, its manifest last, so a set with a manifest is complete.

    Files that an interrupted upload of the same set has already copied are not copied again. Files in the
    store that do not belong to the set are removed at the end.

    Args:
      folder: Local folder of the set.
      store: Folder of the object store.
      fingerprint: Fingerprint of the set. The marker file `uploading.json` contains it, so a later upload
        knows whether the files in the store belong to the same set.
    """
    present = {name: size for name, size in store.sizes().items() if name != LEASE}
    begun = _fingerprint_of_upload(store) if UPLOADING in present else None
    store.write_json(UPLOADING, {"fingerprint": fingerprint})
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    kept = present if begun == fingerprint else {}
    missing = [name for name, size in sizes.items() if kept.get(name) != size]
    in_parallel(lambda name: store.upload(folder / name, name), missing)
    store.upload(folder / MANIFEST, MANIFEST)
    store.delete([UPLOADING, *(present.keys() - sizes.keys() - {MANIFEST, UPLOADING})])
