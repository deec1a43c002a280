"""A run that starts from another, and what is made of its checkpoint: embeddings, word vectors."""

import dataclasses

import numpy as np
import pytest

import train
from jaxssl.errors import InputError
from jaxssl.interop.word2vec import read_word2vec
from jaxssl.objectives import SimCSE
from jaxssl.pretrained.load import load_pretrained
from jaxssl.pretrained.texts import cosines, load_embedder
from jaxssl.pretrained.words import load_word_table
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


def test_texts_are_embedded_in_their_order(masked, tmp_path, capsys):
    texts = ["ba", "de fi go ba", "de fi", "", "de fi go ba " * 40]
    (tmp_path / "texts").write_text("\n".join(texts) + "\n", encoding="utf-8")
    main(["embed", masked.run, str(tmp_path / "texts"), "--into", str(tmp_path / "vectors")])
    assert "5 texts, 32 numbers each (mean)" in capsys.readouterr().out
    vectors = np.load(tmp_path / "vectors")
    embed = load_embedder(masked.run)
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(embed([text])[0], vector, rtol=1e-4, atol=1e-5)
    assert embed([]).shape == (0, 32)
    np.testing.assert_allclose(cosines(vectors, vectors), 1.0, rtol=1e-5)
    np.testing.assert_allclose(cosines(vectors, -3 * vectors), -1.0, rtol=1e-5)
    with pytest.raises(SystemExit) as stopped:
        main(["embed", masked.run, str(tmp_path / "none"), "--into", str(tmp_path / "v")])
    assert stopped.value.code == 2


def test_word_vectors_are_shown_and_written(masked, tmp_path, capsys):
    table = load_word_table(masked.run)
    word = next(name for name in table.words if not name.startswith("##"))
    main(["words", masked.run, word, "--count", "3", "--into", str(tmp_path / "v.txt")])
    shown = capsys.readouterr().out
    near = table.nearest(word, 3)
    assert [name for name, _ in near] == shown.splitlines()[0].split()[1::2]
    assert [cosine for _, cosine in near] == sorted((c for _, c in near), reverse=True)
    assert near[0][1] == pytest.approx(table.similarity(word, near[0][0]))
    words, vectors = read_word2vec(tmp_path / "v.txt")
    assert tuple(words) == table.words
    np.testing.assert_allclose(vectors, table.vectors, rtol=1e-4)
    with pytest.raises(InputError, match="no token of its own"):
        table.nearest("no such word")
