"""Modules are plain pytrees: the same with NNX's graph mode (today's default) and its tree mode."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, numpy as np
from tests.models.small_models import RECIPES, lively, states_of

for name, config in RECIPES.items():
    fresh = jax.eval_shape(lambda key: config.make(key, 23), jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(fresh):
        print(name, jax.tree_util.keystr(path), leaf.shape)
model, key = lively(RECIPES["modernbert"]), jax.random.key(1)
loss, gradients = jax.jit(jax.value_and_grad(lambda m: states_of(m, key=key).sum()))(model)
print(float(loss), [float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(gradients)])
"""


@pytest.mark.slow
def test_the_same_tree_and_numbers_in_graph_mode_and_tree_mode():
    def run(**settings):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=os.environ | settings, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        return done.stdout

    graph = run(NNX_GRAPH_MODE="true", NNX_GRAPH_UPDATES="true")
    assert b"modernbert .layers.attention.query.kernel" in graph
    assert run(NNX_GRAPH_MODE="false", NNX_GRAPH_UPDATES="false") == graph
