"""What is special in ModernBERT's folders (test_encoders.py has what all have)."""

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.modernbert import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from tests.interop.huggingface.golden_files import golden, imported
from tests.interop.huggingface.random_folder import write_folder

CASES = golden("modernbert")


def test_the_first_layer_has_no_norm_before_attention(tmp_path):
    found = imported(CASES["ModernBertForMaskedLM"], tmp_path)
    scales = found.model.encoder.layers.attention_norm.scale[...]
    np.testing.assert_array_equal(scales[0], 1.0)
    assert float(abs(scales[1] - 1).max()) > 0
    assert found.model.transform.bias is None


def test_older_files_say_bases_and_layers_by_other_names(tmp_path):
    entry = CASES["ModernBertForMaskedLM"]
    old = {k: v for k, v in entry["config"].items() if k not in ("layer_types", "rope_parameters")}
    names = {
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 500.0,
        "local_rope_theta": 7.0,
    }
    encoder = FAMILY.objective(old | names, "ModernBertForMaskedLM").encoder
    assert encoder.local_layers == (False, True, False)
    assert (encoder.rotary_base, encoder.rotary_base_local, encoder.window) == (500.0, 7.0, 2)


def test_what_would_change_numbers_is_refused(tmp_path):
    entry = CASES["ModernBertForMaskedLM"]
    for field, value in {
        "attention_dropout": 0.1,
        "mlp_bias": True,
        "decoder_bias": False,
        "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention"],
        "classifier_activation": "relu",
    }.items():
        folder = write_folder(tmp_path, entry["config"] | {field: value}, {})
        with pytest.raises(InputError, match=field):
            read_folder(folder)
