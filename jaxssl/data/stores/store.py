"""Files on object stores: s3://, gs:// and every other URL that fsspec knows.

    store = Store("s3://bucket/prepared/novels")
    store.read_json("manifest.json")

Networks fail now and then: every call is tried again after a pause, each twice as long as the last, and
what is read must have the size, and where it is known the sha256, that it should have. What needs a local
file, or writes one, does so in the cache folder: $JAXSSL_CACHE, else ~/.cache/jaxssl.
"""

import contextlib
import errno
import hashlib
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import fsspec

from jaxssl.data.stores.hashes import file_sha256
from jaxssl.errors import InputError

ATTEMPTS = 7
PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before the second attempt, and before any
PARALLEL = 16  # files on their way at a time
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}  # protocol -> extra of ours
MISTAKES = (TypeError, AttributeError, NameError, NotImplementedError)  # bugs; no second try helps

Result = TypeVar("Result")


class Missing(InputError):
    """A file that is not in its store."""


class Damaged(OSError):
    """What came over the network is not what lies there."""


def is_url(path: str | Path) -> bool:
    """Whether a path is of an object store: scheme://…"""
    return "://" in str(path)


def cache_folder() -> Path:
    """Where things of object stores are kept on this machine."""
    if own := os.environ.get("JAXSSL_CACHE"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "jaxssl"


def folder_here(path: str | Path, kind: str) -> Path:
    """The folder on this machine for what belongs to a URL; a local path is its own.

    `kind` ("runs", "prepared") is the part of the cache folder.
    """
    if not is_url(path):
        return Path(path)
    url = str(path).rstrip("/")
    short = hashlib.sha256(url.encode()).hexdigest()[:10]
    return cache_folder() / kind / f"{url.rpartition('/')[2]}-{short}"


class Store:
    """A folder of an object store; names are relative to it.

    Raises InputError, which names the URL, the error and the way out, where the last attempt has failed.
    """

    def __init__(self, url: str | Path):
        self.url = str(url).rstrip("/")
        self._files, self._root = _open(self.url)

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of every file in the folder and below."""

        def listed() -> dict[str, int]:
            self._files.invalidate_cache()
            found = self._files.find(self._root, detail=True)
            start = len(self._root.rstrip("/")) + 1
            return {path[start:]: entry["size"] for path, entry in found.items() if path[start:]}

        try:
            return self._try("be listed", "", listed)
        except Missing:
            return {}

    def exists(self, name: str) -> bool:
        """Whether the file is there."""
        try:
            self._try("be found", name, lambda: self._files.info(self._path(name)))
        except Missing:
            return False
        return True

    def read_json(self, name: str) -> Any:
        """A small file of JSON."""

        def read() -> Any:
            content = self._files.cat_file(self._path(name))
            try:
                return json.loads(content)
            except ValueError as error:
                raise Damaged(f"it is no whole JSON: {error}") from error

        return self._try("be read", name, read)

    def download(self, name: str, path: Path, size: int, sha256: str | None = None) -> None:
        """Writes a file to `path`, and makes sure that it is whole."""

        def fetch() -> None:
            self._files.get_file(self._path(name), str(path))
            if (found := path.stat().st_size) != size:
                raise Damaged(f"{found:,} of {size:,} bytes came")
            if sha256 is not None and (digest := file_sha256(path)) != sha256:
                raise Damaged(f"its sha256 is {digest[:12]}…, not {sha256[:12]}…")

        self._try("be read", name, fetch)

    def download_all(self, sizes: dict[str, int], folder: Path) -> None:
        """Files by name and size into a folder, many at a time."""

        def fetch(name: str) -> None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.download(name, path, sizes[name])

        in_parallel(fetch, sizes)

    def upload(self, path: Path, name: str) -> None:
        """Writes a local file to the store: whole, or not at all."""

        def send() -> None:
            size = path.stat().st_size  # each time: some files grow while they are sent
            self._make_parent(name)
            self._files.put_file(str(path), self._path(name))
            self._files.invalidate_cache()
            if (found := self._files.info(self._path(name))["size"]) != size:
                raise Damaged(f"{found:,} of {size:,} bytes arrived")

        self._try("be written", name, send)

    def write_json(self, name: str, content: Any) -> None:
        """Writes a small file of JSON."""
        data = json.dumps(content, indent=1, ensure_ascii=False).encode()

        def send() -> None:
            self._make_parent(name)
            self._files.pipe_file(self._path(name), data)

        self._try("be written", name, send)

    def delete(self, names: Iterable[str]) -> None:
        """Removes files; those that are not there any more do no harm."""

        def remove(name: str) -> None:
            with contextlib.suppress(Missing):
                self._try("be removed", name, lambda: self._files.rm_file(self._path(name)))

        in_parallel(remove, names)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}" if name else self._root

    def _make_parent(self, name: str) -> None:
        """Object stores need no folders; what fsspec mounts otherwise may."""
        if self.url.startswith("file:"):
            self._files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)

    def _try(self, what: str, name: str, call: Callable[[], Result]) -> Result:
        url, began = f"{self.url}/{name}" if name else self.url, time.monotonic()
        pause, attempt = PAUSE, 1
        while True:
            try:
                return call()
            except FileNotFoundError as error:
                raise Missing(f"{url} does not exist") from error
            except (*MISTAKES, InputError):
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                told = f"{type(error).__name__}: {str(error) or 'no more is said'}"
                if _is_final(error):
                    raise InputError(
                        f"{url} cannot {what} ({told}); check the credentials of the store"
                    ) from error
                if attempt == ATTEMPTS:
                    raise InputError(
                        f"{url} could not {what} in {ATTEMPTS} attempts over "
                        f"{time.monotonic() - began:.0f} s ({told}); the network or the store is to "
                        "blame: run the same command again when it answers"
                    ) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause, attempt = min(2 * pause, LONGEST_PAUSE), attempt + 1


def in_parallel(function: Callable[[str], None], names: Iterable[str]) -> None:
    """Calls it for all names, in threads; the first error is raised once those under way are done."""
    with ThreadPoolExecutor(PARALLEL) as threads:
        calls = [threads.submit(function, name) for name in names]
        try:
            for call in calls:
                call.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


@contextlib.contextmanager
def fetched(url: str | Path) -> Iterator[Path]:
    """A temporary folder with all files below a URL. Raises InputError where there are none."""
    store = Store(url)
    sizes = store.sizes()
    if not sizes:
        raise Missing(f"{store.url} does not exist")
    with tempfile.TemporaryDirectory(prefix="jaxssl-") as folder:
        store.download_all(sizes, Path(folder))
        yield Path(folder)


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    protocol = url.partition("://")[0]
    options: dict[str, Any] = {}
    if EXTRAS.get(protocol) == "s3" and "config_kwargs" not in fsspec.config.conf.get("s3", {}):
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1}}  # `Store` does it
    try:
        return fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        extra = EXTRAS.get(protocol)
        command = f"pip install 'jaxssl[{extra}]'" if extra else str(error)
        raise InputError(f"{url}: {protocol}:// needs one more package: {command}") from error
    except ValueError as error:
        raise InputError(f"{url} is no URL of a store ({error}); s3:// and gs:// are") from error


def _is_final(error: Exception) -> bool:
    """Whether another attempt would end the same: nobody may read or write there."""
    name = type(error).__name__
    return isinstance(error, PermissionError) or name in (
        "NoCredentialsError",
        "PartialCredentialsError",
        "DefaultCredentialsError",
    )
