"""Small sets and a small run that the malformed variants are made from; nothing is trained."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.pretrained.hand_made import new_model, save_run, state_of
from tests.shrink import prepare_pictures, prepare_words, shrink


@pytest.fixture(scope="session")
def word_rows(tmp_path_factory) -> Path:
    """A prepared set of rows of words."""
    return Path(prepare_words(tmp_path_factory.mktemp("words")))


@pytest.fixture(scope="session")
def picture_set(tmp_path_factory) -> Path:
    """A prepared set of tiny images."""
    return Path(prepare_pictures(tmp_path_factory.mktemp("pictures") / "set"))


@pytest.fixture(scope="session")
def masked_run(tmp_path_factory, word_rows) -> Path:
    """The folder of a masked LM with random parameters."""
    folder = tmp_path_factory.mktemp("masked")
    config = shrink("configs/quickstart.py", str(word_rows), folder / "run")
    return Path(save_run(config, [(state_of(3, new_model(config)), {"loss": 1.0})]))


@pytest.fixture
def scratch(tmp_path, monkeypatch) -> Path:
    """A folder of the test's own, which also holds temporary files, the cache and the home folder."""
    for name in ("TMPDIR", "HOME", "JAXSSL_CACHE"):
        (tmp_path / name.lower()).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch) -> None:
    """Ends a run with success where its state would be made: all of its input has been accepted by then."""

    def accepted(*_: Any, **__: Any) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("jaxssl.training.begin.begin", accepted)
    monkeypatch.setattr("jaxssl.training.step.make_step", accepted)


def recipe(folder: Path, rows: Path) -> Path:
    """Writes a recipe of a tiny masked LM over prepared rows."""
    file = folder / "tiny_recipe.py"
    file.write_text(
        "from jaxssl.data import Rows\n"
        "from jaxssl.models import TransformerConfig\n"
        "from jaxssl.objectives import MaskedLM\n"
        "from jaxssl.sharding.mesh import Mesh\n"
        "from jaxssl.training.config import Pretraining\n"
        "encoder = TransformerConfig(width=32, depth=1, heads=2, mlp=64, max_length=32)\n"
        f"config = Pretraining(data=Rows({os.fspath(rows)!r}, batch=8), objective=MaskedLM(encoder),\n"
        "    mesh=Mesh(data=8), steps=2, evaluate_every=2, save_every=2, report_every=1)\n",
        encoding="utf-8",
    )
    return file
