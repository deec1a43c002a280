"""A prepared set on disk, and the same set on the local S3 server."""

import pytest

from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.progress import TextProgress
from jaxssl.data.stores.store import Store
from tests.data.tiny_corpus import Words, write_vocabulary


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    vocabulary = write_vocabulary(tmp_path_factory.mktemp("vocabulary"))
    return Prepare(
        Words(120), length=32, tokenizer=vocabulary, valid=0.3, shard_characters=3_000, workers=1
    )


@pytest.fixture(scope="session")
def local(config, tmp_path_factory):
    """A prepared set on disk: several shards of each split."""
    folder = tmp_path_factory.mktemp("prepared") / "set"
    prepare(config, folder, TextProgress(silent=True))
    return folder


@pytest.fixture
def there(bucket, local):
    """The same set on the server."""
    store = Store(f"{bucket}/prepared/set")
    for path in local.rglob("*"):
        if path.is_file():
            store.upload(path, str(path.relative_to(local)))
    return store.url
