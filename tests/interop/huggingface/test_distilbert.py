"""What is special in DistilBERT's folders (test_encoders.py has what all have)."""

import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.folder import read_folder
from tests.interop.huggingface.golden_files import golden
from tests.interop.huggingface.random_folder import write_folder

CASES = golden("distilbert")


def test_what_would_change_numbers_is_refused(tmp_path):
    entry = CASES["DistilBertForMaskedLM"]
    for field, value in {"sinusoidal_pos_embds": True, "activation": "tanh", "dim": None}.items():
        folder = write_folder(tmp_path, entry["config"] | {field: value}, {})
        with pytest.raises(InputError, match=field):
            read_folder(folder)
