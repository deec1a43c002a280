"""Runs whose checkpoints are made by hand, for all files of this folder: nothing is trained."""

import dataclasses
from pathlib import Path

import pytest

from tests.pretrained.hand_made import new_model, save_run, state_of
from tests.shrink import prepare_words, shrink


@pytest.fixture(scope="session")
def word_rows(tmp_path_factory) -> str:
    """A prepared set of rows of words."""
    return prepare_words(tmp_path_factory.mktemp("words"))


def save_new_run(recipe: str, rows: str, run: Path, **changes) -> str:
    """The folder of a run of a shrunk recipe with random parameters."""
    config = shrink(f"configs/{recipe}.py", rows, run, **changes)
    model = new_model(config)
    state = state_of(3, model, (), config.objective.init_state(model))
    return save_run(config, [(state, {"loss": 1.5})])


@pytest.fixture(scope="session")
def bert_run(tmp_path_factory, word_rows) -> str:
    """The folder of a masked LM that transformers has a class for, as small as can be."""
    run = tmp_path_factory.mktemp("bert") / "tiny_bert"
    config = shrink("configs/bert_tiny.py", word_rows, run)
    encoder = dataclasses.replace(config.objective.encoder, depth=1, width=16)
    objective = dataclasses.replace(config.objective, encoder=encoder, second_task=None)
    return save_new_run("bert_tiny", word_rows, run, objective=objective)


@pytest.fixture(scope="session")
def word_vectors_run(tmp_path_factory, word_rows) -> str:
    """The folder of a run of skip-grams."""
    return save_new_run("skip_gram_novels", word_rows, tmp_path_factory.mktemp("words") / "run")
