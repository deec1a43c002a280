"""docs/losses_under_pmap.py trains as train.py does."""

import dataclasses
import runpy

import numpy as np
import pytest

import train
from jaxssl.models.recipes import gpt2
from jaxssl.objectives import CausalLM
from jaxssl.sharding.mesh import Mesh
from jaxssl.training.loss_picture import read_metrics
from tests.shrink import prepare_words, shrink

STEPS = 6


@pytest.mark.slow
def test_pmap_gets_the_losses_of_train(tmp_path):
    """Eight devices, the same rows, start and optimizer: the losses of all steps to 1e-5."""
    config = shrink("configs/gpt2_tiny.py", prepare_words(tmp_path), tmp_path / "run", steps=STEPS)
    objective = CausalLM(gpt2(depth=1, width=32, heads=2, max_length=32, dropout=0.0))
    config = dataclasses.replace(config, objective=objective, mesh=Mesh(), microbatches=1)
    found = runpy.run_path("docs/losses_under_pmap.py")["train"](config)
    train.run(config)
    losses = [record["loss"] for record in read_metrics(tmp_path / "run", "train")]
    assert len(losses) == STEPS
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(found, losses, rtol=1e-5)
