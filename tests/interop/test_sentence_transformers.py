"""The files beside a network that make a folder a SentenceTransformer."""

import json

import pytest

from jaxssl.interop.sentence_transformers import write_modules


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_one_mode_of_pooling_is_on(tmp_path, pooling):
    write_modules(tmp_path, width=48, pooling=pooling, max_length=64)
    modules = json.loads((tmp_path / "modules.json").read_text())
    assert [module["path"] for module in modules] == ["", "1_Pooling"]
    settings = json.loads((tmp_path / "1_Pooling" / "config.json").read_text())
    modes = {name: on for name, on in settings.items() if name.startswith("pooling_mode")}
    assert settings["word_embedding_dimension"] == 48
    assert [name for name, on in modes.items() if on] == [
        {
            "mean": "pooling_mode_mean_tokens",
            "cls": "pooling_mode_cls_token",
            "last": "pooling_mode_lasttoken",
        }[pooling]
    ]
    assert json.loads((tmp_path / "sentence_bert_config.json").read_text())["max_seq_length"] == 64
