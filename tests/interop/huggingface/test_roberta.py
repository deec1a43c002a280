"""RoBERTa's and XLM-R's folders."""

import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.folder import read_folder
from tests.interop.huggingface.encoders import (
    check_case,
    check_config,
    check_losses,
    check_with_torch,
)
from tests.interop.huggingface.golden_files import golden, imported
from tests.interop.huggingface.random_folder import write_folder

CASES = golden("roberta")


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_states_and_logits_are_those_of_torch_and_bytes_come_back(name, tmp_path):
    check_case(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]["losses"]])
def test_ten_steps_have_the_losses_of_torch(name, tmp_path):
    check_losses(CASES[name], tmp_path)


@pytest.mark.slow
def test_config_goes_out_as_it_came(tmp_path):
    for name in CASES:
        check_config(CASES[name], tmp_path / name)


def test_rows_of_positions_that_no_token_reads_are_kept(tmp_path):
    found = imported(CASES["RobertaForMaskedLM"], tmp_path)
    encoder = found.objective.encoder
    assert (encoder.max_length, encoder.position_offset) == (9, 2)
    assert found.model.encoder.positions.embedding.shape == (11, 6)


def test_what_would_change_numbers_is_refused(tmp_path):
    entry = CASES["RobertaForMaskedLM"]
    for field, value in {"hidden_act": "relu", "is_decoder": True, "pad_token_id": -1}.items():
        folder = write_folder(tmp_path, entry["config"] | {field: value}, {})
        with pytest.raises(InputError, match=field):
            read_folder(folder)


@pytest.mark.slow
def test_torch_itself(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.interop.huggingface.theirs import roberta

    check_with_torch(roberta, CASES, tmp_path)
