"""A run that starts from the parameters of another."""

import dataclasses

import numpy as np
import pytest

import train
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from jaxssl.objectives import SimCSE
from jaxssl.pretrained.load import load_pretrained
from jaxssl.tools.main import main
from jaxssl.training.begin import parameters
from tests.shrink import prepare_words, shrink

QUICK = "configs/quickstart.py"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return prepare_words(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module")
def masked(rows, tmp_path_factory):
    """A run of masked LM."""
    config = shrink(QUICK, rows, tmp_path_factory.mktemp("run") / "masked")
    train.run(config)
    return config


def simcse(masked, run, **changes):
    encoder = dataclasses.replace(masked.objective.encoder, dropout=0.1)
    objective = SimCSE(encoder, pooling="projector")
    return dataclasses.replace(
        masked, objective=objective, start=masked.run, run=str(run), **changes
    )


@pytest.mark.slow
def test_simcse_starts_from_masked_lm(masked, rows, tmp_path, capsys):
    """Every parameter is that of the run before the first step; a resumed run does not need it."""
    config = simcse(masked, tmp_path / "run", steps=1)
    slow = dataclasses.replace(config.optimizer, peak=1e-12, warmup=0)
    train.run(dataclasses.replace(config, optimizer=slow))
    assert "100.0% of the parameters start as" in capsys.readouterr().out
    before = parameters(load_pretrained(masked.run).model)
    after = parameters(load_pretrained(config.run).model)
    assert before.keys() - after.keys() == {"pair_classifier/kernel", "pair_classifier/bias"}
    for path, array in after.items():
        np.testing.assert_allclose(array, before[path], atol=1e-9, err_msg=path)
    gone = dataclasses.replace(config, start=str(tmp_path / "gone"))
    train.run(gone)
    assert "step 1 of 1 is saved already" in capsys.readouterr().out


@pytest.mark.slow
def test_what_cannot_be_started_from(masked, tmp_path):
    with pytest.raises(InputError, match="gone is no run"):
        train.run(dataclasses.replace(simcse(masked, tmp_path / "a"), start=str(tmp_path / "gone")))
    config = simcse(masked, tmp_path / "b")
    wider = dataclasses.replace(config.objective.encoder, mlp=128)
    config = dataclasses.replace(config, objective=SimCSE(wider))
    with pytest.raises(InputError, match=r"mlp/\w+/\w+ has shape \(2, .* in the run to start from"):
        train.run(config)
    other = shrink(
        "configs/skip_gram_novels.py", masked.data.path, tmp_path / "c", start=masked.run
    )
    with pytest.raises(InputError, match="no parameter of this model"):
        train.run(other)


@pytest.mark.slow
def test_a_vocabulary_grows_by_new_words(masked, tmp_path, capsys):
    """Rows of old tokens are those of the run before, and that of a word without pieces the mean of all."""
    (tmp_path / "text.txt").write_text("ban photosynthesis ban\n\n" * 400)
    (tmp_path / "words.txt").write_text("photosynthesis\n")
    new = tmp_path / "rows"
    words = ("--add-words", str(tmp_path / "words.txt"), "--tokenizer", masked.run)
    source = (str(tmp_path / "text.txt"), "--documents", "blank_line", "--length", "32")
    main(["prepare", *source, *words, "--into", str(new)])
    assert "the vocabulary grows by 1 of 1 words" in capsys.readouterr().err
    known, grown = load_tokenizer(masked.run), load_tokenizer(new)
    assert grown.parent == known.fingerprint
    ((id, pieces),) = grown.grown.items()
    assert (id, pieces) == (known.vocab_size, ())  # unknown before: the mean of all rows
    data = dataclasses.replace(masked.data, path=str(new))
    slow = dataclasses.replace(masked.optimizer, peak=1e-12, warmup=0)
    run = str(tmp_path / "run")
    train.run(
        dataclasses.replace(masked, data=data, start=masked.run, run=run, steps=1, optimizer=slow)
    )
    assert "1 new words begin as the means of their pieces" in capsys.readouterr().out
    before = parameters(load_pretrained(masked.run).model)
    after = parameters(load_pretrained(run).model)
    for path, array in before.items():
        is_table = path in ("encoder/tokens/embedding", "output_bias")
        np.testing.assert_allclose(after[path][:id] if is_table else after[path], array, atol=1e-9)
    for path in ("encoder/tokens/embedding", "output_bias"):
        mean = np.asarray(before[path]).mean(0)
        np.testing.assert_allclose(after[path][id], mean, atol=1e-7)
