"""The contract: defaults of an objective, what is refused, and that contrasting in parts is the loss."""

from dataclasses import dataclass
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.objectives import ContrastiveObjective, Objective
from jaxssl.objectives.contract import check_objective, moving_average


@dataclass(frozen=True)
class Mean(Objective):
    """Moves a number to the mean of a batch."""

    def init(self, key, spec):
        return jnp.zeros(())

    def corrupt(self, batch, key):
        return batch

    def loss(self, model, state, examples, key):
        return jnp.square(examples - model).mean(), (state, {})


@dataclass(frozen=True)
class Product(ContrastiveObjective):
    """All products of the rows."""

    def init(self, key, spec):
        return jnp.ones(())

    def corrupt(self, batch, key):
        return batch

    def embed(self, model, state, examples, key):
        return model * examples

    def contrast(self, model, state, embeddings, examples):
        return (embeddings[:, None] * embeddings[None]).sum(), (state, {})


def test_what_is_optional_has_a_default():
    objective = Mean()
    check_objective(objective)
    assert objective.init_state(0) == ()
    assert objective.follow("state", 0, 3) == "state"
    assert objective.text_pooling == "mean"
    assert not objective.counts_tokens
    assert objective.inputs("pixels") == "pixels"
    network = SimpleNamespace(config="its configuration")
    assert objective.network(SimpleNamespace(encoder=network)) is network
    assert objective.finetuning_config(SimpleNamespace(encoder=network)) == "its configuration"
    with pytest.raises(InputError, match="Mean has no network .* give the objective a method"):
        objective.network(jnp.zeros(()))


def test_what_is_not_optional_must_be_there():
    class Half(Objective):
        def init(self, key, spec):
            return ()

    with pytest.raises(TypeError, match="abstract"):
        Half()
    with pytest.raises(InputError, match="objective SimpleNamespace has no `corrupt`"):
        check_objective(SimpleNamespace(init=0))


def test_the_loss_of_a_contrast_is_that_of_its_parts():
    rows = jnp.arange(4.0)
    loss, (state, _) = Product().loss(jnp.float32(2.0), "state", rows, None)
    assert float(loss) == 4 * 36.0
    assert state == "state"


def test_moving_average():
    found = moving_average({"a": jnp.ones(2)}, {"a": jnp.full(2, 3.0)}, 0.75)
    np.testing.assert_allclose(found["a"], 1.5)
