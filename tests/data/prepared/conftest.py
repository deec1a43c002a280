"""A small prepared set of text, and copies of it that a test may damage."""

import shutil

import pytest

from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.progress import TextProgress
from tests.data.tiny_corpus import Words, write_vocabulary


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Folder of a set with several shards of training rows; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    config = Prepare(
        Words(), 32, write_vocabulary(folder), valid=0.2, shard_characters=3_000, workers=1
    )
    prepare(config, folder / "set", TextProgress(silent=True))
    return folder / "set"


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to damage."""
    return shutil.copytree(whole, tmp_path / "set")
