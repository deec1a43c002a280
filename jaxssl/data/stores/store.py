"""Files on object stores: s3://, gs:// and every other URL that fsspec supports.

    store = Store("s3://bucket/prepared/novels")
    store.read_json("manifest.json")

Networks fail now and then, so a failed call is repeated up to six times after pauses of increasing length. A
call that makes no progress for $JAXSSL_STORE_TIMEOUT seconds, by default 60, counts as failed (`stalls.py`),
and is repeated twice. A downloaded file must have the expected size and, if it is known, the expected sha256.
Local copies are kept in the cache folder: $JAXSSL_CACHE, else ~/.cache/jaxssl.
"""

import contextlib
import errno
import hashlib
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, overload

import fsspec

from jaxssl.data.stores.hashes import file_sha256
from jaxssl.data.stores.json_files import json_text, parse_json
from jaxssl.data.stores.json_types import checked
from jaxssl.data.stores.names import inside, plain_name
from jaxssl.data.stores.stalls import TIMEOUT, Progress, Stalled, in_time, patience
from jaxssl.errors import InputError

ATTEMPTS, STALLED_ATTEMPTS = 7, 3  # of calls that fail, and of calls that make no progress
PIECE = 8 << 20  # bytes of a file that are downloaded by one call
PAUSE, LONGEST_PAUSE = (
    0.5,
    30.0,
)  # seconds before the second attempt (then doubled), and upper limit
PARALLEL = 16  # files that are transferred at the same time
PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}  # by protocol
MISTAKES = (TypeError, AttributeError, NameError, NotImplementedError)  # bugs: not tried again

Result = TypeVar("Result")


class Missing(InputError):
    """A file does not exist on its object store."""


class Damaged(OSError):
    """A transferred file differs from its original, or its content is not what it should be."""


def is_url(path: str | Path) -> bool:
    """Returns whether `path` is a URL of an object store, scheme://…, rather than a local path."""
    return "://" in str(path)


def cache_folder() -> Path:
    """Returns the local folder for copies of files of object stores: $JAXSSL_CACHE, else ~/.cache/jaxssl."""
    if own := os.environ.get("JAXSSL_CACHE"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "jaxssl"


def folder_here(path: str | Path, kind: str) -> Path:
    """Returns the local folder that stands for `path`: itself if it is local, else one in the cache folder.

    Args:
      path: A local path or a URL.
      kind: Part of the cache folder, "runs" or "prepared".
    """
    if not is_url(path):
        return Path(path)
    url = str(path).rstrip("/")
    short = hashlib.sha256(url.encode()).hexdigest()[:10]
    return cache_folder() / kind / f"{url.rpartition('/')[2]}-{short}"


class Store:
    """A folder of an object store. Names of files are relative to it.

    A method whose last attempt fails raises an InputError that names the URL and the cause.

    Args:
      url: URL of the folder, such as s3://bucket/prepared/novels.

    Raises:
      InputError: The URL is malformed, or its protocol needs a package that is not installed.
    """

    def __init__(self, url: str | Path):
        protocol, _, rest = str(url).partition("://")
        self.url = f"{protocol}://{rest.rstrip('/')}"
        if not rest.strip("/"):
            raise InputError(
                f"{url} names no bucket and no folder; write {protocol}://BUCKET/FOLDER"
            )
        self._files, self._root = _open(self.url)

    def sizes(self) -> dict[str, int]:
        """Returns the size in bytes of every file in the folder and its subfolders, by name.

        Raises:
          InputError: The store cannot be listed, or a key of an object is no plain relative name.
        """

        def listed() -> dict[str, int]:
            self._files.invalidate_cache()
            found = in_time(lambda: self._files.find(self._root, detail=True))
            start = len(self._root.rstrip("/")) + 1
            names = {path[start:]: int(entry["size"] or 0) for path, entry in found.items()}
            # An empty object whose name ends with a slash is how consoles of stores show a folder.
            return {name: size for name, size in names.items() if name and not name.endswith("/")}

        try:
            sizes = self._try("be listed", "", listed)
        except Missing:
            return {}
        return {plain_name(name, self.url): size for name, size in sizes.items()}

    def exists(self, name: str) -> bool:
        """Returns whether the file `name` exists."""
        try:
            path = self._path(name)
            self._try("be found", name, lambda: in_time(lambda: self._files.info(path)))
        except Missing:
            return False
        return True

    @overload
    def read_json(self, name: str) -> Any: ...
    @overload
    def read_json(self, name: str, kind: type[Result]) -> Result: ...
    def read_json(self, name: str, kind: Any = Any) -> Any:
        """Returns the content of the small JSON file `name`, checked.

        Args:
          name: Name of the file.
          kind: The type that the content must have, as `json_types.checked` takes it.

        Raises:
          Missing: The file does not exist.
          InputError: The file cannot be read, or it holds something else.
        """
        where, path = f"{self.url}/{name}", self._path(name)

        def read() -> Any:
            content = in_time(lambda: self._files.cat_file(path))
            try:
                return parse_json(content, where)
            except InputError as error:
                raise Damaged(f"it is no whole JSON: {error}") from error

        return checked(self._try("be read", name, read), kind, where)

    def download(self, name: str, path: Path, size: int, sha256: str | None = None) -> None:
        """Copies a file of the store to the local disk and checks that it is complete.

        Args:
          name: Name of the file in the store.
          path: Local file to write.
          size: Size that the file must have, in bytes.
          sha256: Hash that it must have, in hexadecimal. None: the content is not checked.

        Raises:
          Missing: The file does not exist.
          InputError: The last attempt failed, or gave another size or hash.
        """

        there = self._path(name)

        def piece(start: int) -> bytes:
            # The last piece has no end, so that a file that has grown is noticed.
            limits = {} if size <= PIECE else {"start": start}
            limits |= {"end": start + PIECE} if start + PIECE < size else {}
            return bytes(in_time(lambda: self._files.cat_file(there, **limits)))

        def fetch() -> None:
            with path.open("wb") as file:
                for start in range(0, max(size, 1), PIECE):
                    file.write(piece(start))
            if (found := path.stat().st_size) != size:
                raise Damaged(f"{found:,} of {size:,} bytes came")
            if sha256 is not None and (digest := file_sha256(path)) != sha256:
                raise Damaged(f"its sha256 is {digest[:12]}…, not {sha256[:12]}…")

        self._try("be read", name, fetch)

    def download_all(self, sizes: dict[str, int], folder: Path) -> None:
        """Copies files, given as their `sizes` in bytes by name, into the local `folder`, in parallel."""

        def fetch(name: str) -> None:
            path = inside(folder, name, self.url)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.download(name, path, sizes[name])

        in_parallel(fetch, sizes)

    def upload(self, path: Path, name: str) -> None:
        """Copies the local file `path` to the file `name` of the store, and checks the size that arrived."""

        there = self._path(name)

        def send() -> None:
            size = path.stat().st_size  # at every attempt: a log may have grown meanwhile
            self._make_parent(name)
            progress = Progress(size)
            callback = progress.callback
            in_time(lambda: self._files.put_file(str(path), there, callback=callback), progress)
            self._files.invalidate_cache()
            if (found := in_time(lambda: self._files.info(there))["size"]) != size:
                raise Damaged(f"{found:,} of {size:,} bytes arrived")

        self._try("be written", name, send)

    def write_json(self, name: str, content: Any) -> None:
        """Writes `content` as the JSON file `name`."""
        data, path = json_text(content, indent=1).encode(), self._path(name)

        def send() -> None:
            self._make_parent(name)
            in_time(lambda: self._files.pipe_file(path, data))

        self._try("be written", name, send)

    def delete(self, names: Iterable[str]) -> None:
        """Removes the files `names`. Those that do not exist are ignored."""

        def remove(name: str) -> None:
            path = self._path(name)
            with contextlib.suppress(Missing):
                self._try("be removed", name, lambda: in_time(lambda: self._files.rm_file(path)))

        in_parallel(remove, names)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{plain_name(name, self.url)}" if name else self._root

    def _make_parent(self, name: str) -> None:
        """Makes the folder of a file:// URL. Object stores have no folders of their own."""
        if self.url.startswith("file:"):
            self._files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)

    def _try(self, what: str, name: str, call: Callable[[], Result]) -> Result:
        """Calls `call`, again after errors that may pass; `what` and `name` are for the error message."""
        url, began = f"{self.url}/{name}" if name else self.url, time.monotonic()
        pause, attempt, stalled = PAUSE, 1, 0
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
                cause = f"{type(error).__name__}: {str(error) or 'without a message'}"
                if (way_out := _way_out(error)) is not None:
                    raise InputError(f"{url} cannot {what} ({cause}); {way_out}") from error
                stalled += isinstance(error, Stalled)
                if attempt == ATTEMPTS or stalled == STALLED_ATTEMPTS:
                    hint = f", or set {TIMEOUT} to more seconds" if stalled else ""
                    raise InputError(
                        f"{url} could not {what} in {attempt} attempts over "
                        f"{time.monotonic() - began:.0f} s ({cause}); the network or the store does not "
                        f"work: run the same command again when it does{hint}"
                    ) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause, attempt = min(2 * pause, LONGEST_PAUSE), attempt + 1


def in_parallel(function: Callable[[str], None], names: Iterable[str]) -> None:
    """Calls `function` with each of `names`, in up to 16 threads, and waits for all calls.

    After an error no further call begins; the error is raised when the running calls have ended.
    """
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
    """Downloads all files below `url` into a temporary folder and yields it.

    The folder is removed at the end of the context. Raises Missing if there are no files.
    """
    store = Store(url)
    sizes = store.sizes()
    if not sizes:
        raise Missing(f"{store.url} does not exist")
    with tempfile.TemporaryDirectory(prefix="jaxssl-") as folder:
        store.download_all(sizes, Path(folder))
        yield Path(folder)


def _open(url: str) -> tuple[Any, str]:
    """Returns the fsspec file system of a URL, and the path in it."""
    protocol = url.partition("://")[0]
    if not protocol:
        raise InputError(f"{url} is no URL of a store (it has no scheme); s3:// and gs:// are")
    options: dict[str, Any] = {}
    if PACKAGES.get(protocol) == "s3fs" and "config_kwargs" not in fsspec.config.conf.get("s3", {}):
        options["config_kwargs"] = {
            "retries": {"total_max_attempts": 1},  # `Store` tries again itself
            "connect_timeout": patience(),
            "read_timeout": patience(),
        }
    try:
        return fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        package = PACKAGES.get(protocol)
        command = f"pip install {package}" if package else str(error)
        raise InputError(f"{url}: {protocol}:// needs one more package: {command}") from error
    except InputError:
        raise
    except Exception as error:  # whatever the constructor of a file system makes of the URL
        cause = " ".join(f"{error}".split())[:200] or type(error).__name__
        raise InputError(f"{url} is no URL of a store ({cause}); s3:// and gs:// are") from error


def _way_out(error: Exception) -> str | None:
    """Returns what to do about an error that another attempt would have, too; None for other errors."""
    name = type(error).__name__
    if isinstance(error, PermissionError) or name in (
        "NoCredentialsError",
        "PartialCredentialsError",
        "DefaultCredentialsError",
    ):
        return "check the credentials of the store"
    if isinstance(error, ValueError) or name == "ParamValidationError":
        return "check the address"
    return None
