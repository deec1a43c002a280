"""Exports: complete or absent, never over something else, with a proof that the numbers are the same."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import jaxssl
from jaxssl.errors import InputError
from jaxssl.exporting.export import check_folder, export_run, is_export
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.interop.numpy_archive import read_arrays
from jaxssl.interop.word2vec import read_word2vec
from jaxssl.models.plain import to_dict
from jaxssl.pretrained.load import load_pretrained
from jaxssl.pretrained.words import load_word_table
from jaxssl.tools.main import main


@pytest.fixture(scope="module")
def exported(bert_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "bert"
    return export_run(bert_run, folder)


def test_the_folder_is_read_with_the_same_parameters(exported, bert_run):
    run, found = load_pretrained(bert_run), read_folder(exported.folder)
    assert exported.what == "a `BertForMaskedLM` of transformers"
    assert (found.architecture, found.missing, found.dtype) == ("BertForMaskedLM", (), "float32")
    assert found.unused.names == ()
    for ours, theirs in zip(*(map(np.asarray, leaves(m)) for m in (run, found)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    texts = ["ba de", "fi go ba", ""]
    for ours, theirs in zip(
        *(part.encode(texts) for part in (run.tokenizer, found.tokenizer)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    settings = json.loads((exported.folder / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == 32


def leaves(found):
    nested = [to_dict(found.model)]
    while nested:
        part = nested.pop(0)
        for name in sorted(part):
            if isinstance(part[name], dict):
                nested.append(part[name])
            else:
                yield part[name]


def test_the_proof_holds_its_inputs(exported):
    proof = json.loads((exported.folder / "proof.json").read_text())
    assert proof["largest_difference"] == exported.difference <= 1e-5
    assert set(proof["differences"]["texts"]) == {"states", "logits"}
    tokens = np.array(proof["inputs"]["texts"]["tokens"])
    assert tokens.shape[0] == 3
    assert (tokens[1:, -1] == tokens[-1, -1]).all()  # padding
    assert "step 3 of the run" in proof["compared"]


def test_the_card_says_what_was_learned_from_what(exported, bert_run):
    card = (exported.folder / "README.md").read_text()
    config = json.loads((Path(bert_run) / "config.json").read_text())
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: fill-mask\n")
    assert "\n# tiny_bert\n" in card
    assert f'AutoModelForMaskedLM.from_pretrained("{exported.folder}")' in card
    assert config["data"] in card
    assert f"jaxssl {jaxssl.__version__}" in card
    assert "manifest.json` | `" in card
    assert re.search(r"\| seen \| [\d,]+ tokens of text, [\d,]+ words, in 48 rows \|", card)
    recipe = card.partition("```json\n")[2].partition("```")[0]
    assert json.loads(recipe)["objective"]["class"] == "jaxssl.objectives.masked_lm:MaskedLM"


def test_an_older_export_is_replaced_and_exports_inside_it_stay(word_vectors_run, tmp_path, capsys):
    folder = tmp_path / "out"
    for inner in (folder / "words_1M", folder):
        export_run(word_vectors_run, inner, to="word2vec")
    (folder / "old file").write_text("of the export before")
    done = export_run(word_vectors_run, folder, to="numpy")
    names = {path.name for path in folder.iterdir()}
    assert names > {"README.md", "parameters.npz", "proof.json", "run.json", "tokenizer.json"}
    assert (folder / "words_1M" / "vectors.txt").exists()
    assert not (folder / "old file").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    arrays = read_arrays(folder / "parameters.npz")
    model = load_pretrained(word_vectors_run).model
    np.testing.assert_array_equal(arrays["words/embedding"], model.words.embedding[...])
    assert done.difference == 0


def test_word_vectors(word_vectors_run, tmp_path):
    done = export_run(word_vectors_run, tmp_path / "out", to="word2vec")
    words, vectors = read_word2vec(tmp_path / "out" / "vectors.txt")
    table = load_word_table(word_vectors_run)
    assert words == list(table.words)
    assert 0 < np.abs(vectors - table.vectors).max() == done.difference < 1e-5


def test_the_command(word_vectors_run, tmp_path, capsys):
    main(["export", word_vectors_run, str(tmp_path / "out"), "--to", "word2vec"])
    printed = capsys.readouterr().out
    assert (
        f"{tmp_path}/out: 100 word vectors in word2vec's text format; largest difference" in printed
    )
    assert f'load_word2vec_format("{tmp_path}/out/vectors.txt")' in printed
    (tmp_path / "mine.txt").write_text("no export")
    with pytest.raises(SystemExit) as stopped:
        main(["export", word_vectors_run, str(tmp_path)])
    assert stopped.value.code == 2
    assert "exists and is no export" in capsys.readouterr().err


def test_a_folder_that_is_no_export_is_left_alone(bert_run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("years of it")
    with pytest.raises(InputError, match=r"mine exists and is no export .* choose another folder"):
        export_run(bert_run, tmp_path / "mine")
    with pytest.raises(InputError, match="s3://a/b is on an object store; export to a local"):
        check_folder("s3://a/b")
    with pytest.raises(InputError, match="the folder '/' has no name"):
        check_folder("/")
    assert (tmp_path / "mine" / "work.txt").read_text() == "years of it"
    assert not is_export(tmp_path / "mine" / "work.txt")


def test_a_format_that_does_not_fit_leaves_nothing(word_vectors_run, tmp_path):
    for to, reason in {
        "huggingface": "transformers has no class that computes what this WordVectors does",
        "stablehlo": "word vectors are a table and no function of texts",
        "onnx": "to='onnx' is unknown; use huggingface, sentence-transformers, stablehlo",
    }.items():
        with pytest.raises(InputError, match=reason):
            export_run(word_vectors_run, tmp_path / "out", to=to)
    assert list(tmp_path.iterdir()) == []
