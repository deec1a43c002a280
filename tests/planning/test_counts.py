"""What is counted from shapes alone: by hand, and against the textbook."""

import dataclasses

import jax
import pytest

from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM
from jaxssl.planning.assumed_rows import assumed_rows
from jaxssl.planning.counts import count
from jaxssl.training.config import Pretraining, load_config
from tests.planning.tiny_runs import MASKED, SHAPE, SIZES


def test_what_is_counted_needs_no_compiler():
    """Adam keeps two moments of every parameter, and three counters beside the step."""
    counts = count(MASKED, assumed_rows(MASKED, 32, 64)[0], SIZES)
    spec = assumed_rows(MASKED, 32, 64)[0]
    model = jax.eval_shape(lambda: MASKED.objective.init(jax.random.key(0), spec))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model))
    assert counts.parameters == parameters
    assert counts.state == pytest.approx(3 * 4 * parameters, abs=32)
    assert counts.state / 8 < counts.state_per_device < counts.state / 4
    assert counts.executed == counts.flops
    remat = dataclasses.replace(MASKED, objective=MaskedLM(encoder=bert(**SHAPE, remat="inputs")))
    again = count(remat, assumed_rows(remat, 32, 64)[0], SIZES)
    assert again.executed == pytest.approx(4 / 3 * again.flops)


def test_flops_of_bert_base_are_those_of_the_textbook():
    """6 N + 12 layers width length a token (Chowdhery et al. 2022, appendix B), N without tables.

    N = 12 layers x 12 width^2; the head works on 15 % of the places: 6 (width^2 + width vocab) each.
    """
    config = load_config("configs/bert_base.py", Pretraining)
    spec, source = assumed_rows(config)
    assert (spec.length, spec.vocab_size, source) == (512, 32_768, "assumed")
    counts = count(config, spec, {"data": 1, "fsdp": 1, "tensor": 1})
    layers = 6 * 12 * 12 * 768**2 + 12 * 12 * 768 * 512
    head = 0.15 * 6 * (768**2 + 768 * 32_768)
    assert counts.flops / counts.units == pytest.approx(layers + head, rel=0.01)
    assert counts.parameters == pytest.approx(112.4e6, rel=0.01)  # 110 M with 30,522 tokens
