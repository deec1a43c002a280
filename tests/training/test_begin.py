"""A run that starts from the parameters of another."""

import dataclasses

import numpy as np
import pytest

import train
from jaxssl.errors import InputError
from jaxssl.objectives import SimCSE
from jaxssl.pretrained.load import load_pretrained
from jaxssl.training.begin import parameters
from tests.shrink import prepare_words, shrink

QUICK = "configs/quickstart.py"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return prepare_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def masked(rows, tmp_path_factory):
    """A run of masked LM."""
    config = shrink(QUICK, rows, tmp_path_factory.mktemp("run") / "masked")
    train.run(config)
    return config


def simcse(masked, run, **changes):
    encoder = dataclasses.replace(masked.objective.encoder, dropout=0.1)
    objective = SimCSE(encoder, pooling="projector")
    return dataclasses.replace(
        masked, objective=objective, start=masked.run, run=str(run), **changes
    )


@pytest.mark.slow
def test_simcse_starts_from_masked_lm(masked, rows, tmp_path, capsys):
    """Every parameter is that of the run before the first step; a resumed run does not need it."""
    config = simcse(masked, tmp_path / "run", steps=1)
    slow = dataclasses.replace(config.optimizer, peak=1e-12, warmup=0)
    train.run(dataclasses.replace(config, optimizer=slow))
    assert "100.0% of the parameters start as" in capsys.readouterr().out
    before = parameters(load_pretrained(masked.run).model)
    after = parameters(load_pretrained(config.run).model)
    assert before.keys() - after.keys() == {"pair_classifier/kernel", "pair_classifier/bias"}
    for path, array in after.items():
        np.testing.assert_allclose(array, before[path], atol=1e-9, err_msg=path)
    gone = dataclasses.replace(config, start=str(tmp_path / "gone"))
    train.run(gone)
    assert "step 1 of 1 is saved already" in capsys.readouterr().out


@pytest.mark.slow
def test_what_cannot_be_started_from(masked, tmp_path):
    with pytest.raises(InputError, match="gone is no run"):
        train.run(dataclasses.replace(simcse(masked, tmp_path / "a"), start=str(tmp_path / "gone")))
    config = simcse(masked, tmp_path / "b")
    wider = dataclasses.replace(config.objective.encoder, mlp=128)
    config = dataclasses.replace(config, objective=SimCSE(wider))
    with pytest.raises(InputError, match=r"mlp/\w+/\w+ has shape \(2, .* in the run to start from"):
        train.run(config)
    other = shrink(
        "configs/skip_gram_novels.py", masked.data.path, tmp_path / "c", start=masked.run
    )
    with pytest.raises(InputError, match="no parameter of this model"):
        train.run(other)
