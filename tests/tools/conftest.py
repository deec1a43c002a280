"""A run whose checkpoint is made by hand, for all files of this folder."""

import pytest

from tests.pretrained.hand_made import new_model, save_run, state_of
from tests.shrink import prepare_words, shrink


@pytest.fixture(scope="session")
def masked_run(tmp_path_factory) -> str:
    """The folder of a masked LM with random parameters."""
    folder = tmp_path_factory.mktemp("masked")
    config = shrink("configs/quickstart.py", prepare_words(folder), folder / "run")
    return save_run(config, [(state_of(3, new_model(config)), {"loss": 1.0})])
