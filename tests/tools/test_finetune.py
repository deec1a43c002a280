"""`jaxssl finetune` runs the page finetune.py: a recipe of one's own, two steps."""

import pytest

from jaxssl.finetuning.finetuned import load_finetuned
from jaxssl.tools.main import main
from tests.test_finetune import write_examples

RECIPE = """
from jaxssl.data.labelled.tables import Labelled
from jaxssl.finetuning.setup import Finetuning
from jaxssl.tasks.classify import Classify

data = Labelled({file!r}, text="sentence", length=16, buckets=1)
config = Finetuning(data, Classify("nowhere"), batch=8, steps=9, evaluate_batch=16)
"""


@pytest.mark.slow
def test_a_recipe_of_ones_own(masked_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(RECIPE.format(file=write_examples(tmp_path / "train.tsv")))
    main(["finetune", "tiny.py", "--steps", "2", "--task.checkpoint", masked_run])
    assert "step       2 of 2" in capsys.readouterr().out
    model = load_finetuned("runs/tiny/pretrained")
    assert (model.step, model.labels) == (2, ("no", "yes"))
