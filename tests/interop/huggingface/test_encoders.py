"""Folders of text encoders: numbers that torch has computed, and torch itself where it is installed."""

import importlib

import pytest

from tests.interop.huggingface.encoders import (
    check_case,
    check_config,
    check_losses,
    check_with_torch,
)
from tests.interop.huggingface.golden_files import golden

CASES = {
    family: golden(family) for family in ("bert", "distilbert", "electra", "modernbert", "roberta")
}
ALL = [(family, name) for family, cases in CASES.items() for name in cases]
QUICK = ("bert", "BertForPreTraining")
TRAINED = [(family, name) for family, name in ALL if CASES[family][name]["losses"]]


@pytest.mark.parametrize(
    ("family", "name"),
    [pytest.param(*one, marks=[] if one == QUICK else pytest.mark.slow) for one in ALL],
)
def test_states_and_logits_are_those_of_torch_and_bytes_come_back(family, name, tmp_path):
    check_case(CASES[family][name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "name"), TRAINED)
def test_ten_steps_have_the_losses_of_torch(family, name, tmp_path):
    check_losses(CASES[family][name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "name"), ALL)
def test_config_goes_out_as_it_came(family, name, tmp_path):
    check_config(CASES[family][name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", CASES)
def test_torch_itself(family, tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    module = importlib.import_module(f"tests.interop.huggingface.theirs.{family}")
    check_with_torch(module, CASES[family], tmp_path)
