"""Layer-wise decay: every part of a classifier moves by its share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl.errors import InputError
from jaxssl.models.recipes import bert
from jaxssl.optimizers.layer_decay import scale_by_layer
from jaxssl.sharding.layout import path_of
from jaxssl.tasks.classify import Classify
from tests.tiny import tiny_spec

DEPTH, DECAY = 3, 0.5


def test_shares_by_distance_from_the_head():
    spec = tiny_spec()
    spec.classes = 2
    network = bert(DEPTH, 32, 2, max_length=32)
    model = Classify().init(jax.random.key(0), network, spec)
    ones = jax.tree.map(jnp.ones_like, model)
    transform = scale_by_layer(DECAY)
    moved, _ = transform.update(ones, transform.init(model), model)
    for keys, leaf in jax.tree_util.tree_leaves_with_path(moved):
        path = path_of(keys)
        shares = np.unique(np.asarray(leaf))
        if path.startswith(("classifier", "pooler")):
            assert shares.tolist() == [1.0], path
        elif "/layers/" in path:
            by_layer = np.asarray(leaf).reshape(DEPTH, -1)
            np.testing.assert_array_equal(by_layer.min(axis=1), [0.25, 0.5, 1.0], err_msg=path)
            np.testing.assert_array_equal(by_layer.max(axis=1), [0.25, 0.5, 1.0], err_msg=path)
        else:
            assert shares.tolist() == [0.125], path


def test_a_decay_of_one_changes_nothing_and_others_are_refused():
    updates = {"encoder": {"layers": {"kernel": jnp.full((2, 3), 0.3)}}, "head": jnp.ones(2)}
    transform = optax.chain(optax.identity(), scale_by_layer(1.0))
    moved, _ = transform.update(updates, transform.init(updates))
    jax.tree.map(np.testing.assert_array_equal, moved, updates)
    for wrong in (0.0, 1.5):
        with pytest.raises(InputError, match="layer_decay"):
            scale_by_layer(wrong)
