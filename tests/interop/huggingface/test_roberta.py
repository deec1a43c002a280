"""What is special in RoBERTa's and XLM-R's folders (test_encoders.py has what all have)."""

import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.folder import read_folder
from tests.interop.huggingface.golden_files import golden, imported
from tests.interop.huggingface.random_folder import write_folder

CASES = golden("roberta")


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
