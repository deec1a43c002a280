"""`jaxssl train` runs the page train.py: a recipe of one's own, two steps."""

import pytest

from jaxssl.pretrained.load import load_pretrained
from jaxssl.tools.main import main
from tests.shrink import prepare_words

RECIPE = """
from jaxssl.data.rows import Rows
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives import MaskedLM
from jaxssl.training.config import Pretraining

encoder = TransformerConfig(depth=1, width=16, heads=2, mlp=32, max_length=32)
config = Pretraining(
    data=Rows({rows!r}, batch=8), objective=MaskedLM(encoder), steps=9, evaluate_batches=1
)
"""


@pytest.mark.slow
def test_a_recipe_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(RECIPE.format(rows=prepare_words(tmp_path)))
    main(["train", "tiny.py", "--steps", "2", "--report-every", "1"])
    printed = capsys.readouterr().out
    assert "step       2 of 2" in printed
    assert 'AutoModelForMaskedLM.from_pretrained("runs/tiny/exported")' in printed
    pretrained = load_pretrained("runs/tiny")
    assert (pretrained.step, pretrained.config.steps) == (2, 2)
