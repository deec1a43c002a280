"""Small prepared sets, made once for all files of this folder."""

import pytest

from tests.shrink import prepare_pictures, prepare_words


@pytest.fixture(scope="session")
def word_rows(tmp_path_factory) -> str:
    return prepare_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def picture_set(tmp_path_factory) -> str:
    return prepare_pictures(tmp_path_factory.mktemp("pictures") / "set")
