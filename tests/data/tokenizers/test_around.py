"""Special tokens around a text, as a tokenizer.json says."""

import pytest
import tokenizers
from tokenizers.processors import TemplateProcessing

from jaxssl.data.tokenizers.around import tokens_around
from jaxssl.errors import InputError

IDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("[CLS] $A [SEP]", ((1,), (2,))),
        ("[CLS] [CLS] $A", ((1, 1), ())),
        ("$A", ((), ())),
    ],
)
def test_templates(tmp_path, template, expected):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(IDS, unk_token="[UNK]"))
    tokenizer.post_processor = TemplateProcessing(
        single=template, special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_padding(length=16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert tokens_around(tmp_path) == expected


def test_no_file_and_a_broken_one(tmp_path):
    assert tokens_around(tmp_path) is None
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="is not a valid tokenizer.json"):
        tokens_around(tmp_path)
