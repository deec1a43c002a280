"""Every kind of recipe goes out: as a class of transformers where there is one, else as numpy arrays."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.exporting.export import export_run
from jaxssl.exporting.proof import outputs_of
from jaxssl.pretrained.load import load_pretrained
from jaxssl.pretrained.texts import load_embedder
from tests.pretrained.hand_made import new_model, save_run, state_of
from tests.shrink import shrink

RECIPES = ("quickstart", "bert_tiny", "gpt2_tiny", "electra_small", "modernbert_base", "t5_tiny")
RECIPES += ("bart_tiny", "simcse_bert_base", "mae_cifar10", "simclr_cifar10", "clip_vitb16")
RECIPES += ("skip_gram_novels",)
# Recipe -> class of transformers; "" where there is none. What the others go out as is that of their family.
CLASSES = {
    "quickstart": "RobertaPreLayerNormForMaskedLM",
    "bert_tiny": "BertForMaskedLM",
    "skip_gram_novels": "",
}


def run_of(recipe: str, rows: str, folder: Path) -> str:
    """A run of a shrunk recipe in which every parameter, biases and scales too, has a number of its own."""
    config = shrink(f"configs/{recipe}.py", rows, folder / recipe)
    model, random = new_model(config), np.random.default_rng(1)
    noisy = jax.tree.map(
        lambda leaf: leaf + 0.05 * random.normal(size=leaf.shape).astype(leaf.dtype), model
    )
    carried = config.objective.init_state(noisy)
    return save_run(config, [(state_of(2, noisy, (), carried), {"loss": 1.0})])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_goes_out(recipe, word_rows, tmp_path):
    run, name, refusal = run_of(recipe, word_rows, tmp_path), "", ""
    try:
        done = export_run(run, tmp_path / "out")
        name = json.loads((tmp_path / "out" / "config.json").read_text())["architectures"][0]
    except InputError as error:
        refusal = str(error)
        done = export_run(run, tmp_path / "out", to="numpy")
    assert ("transformers has no class that computes what this" in refusal) == (name == "")
    print(f"{recipe}: {name or 'numpy'}, largest difference {done.difference:.2g}")
    assert name == CLASSES.get(recipe, name)
    assert done.difference <= 1e-5
    if name:
        check_in_transformers(run, tmp_path / "out", name)


def check_in_transformers(run: str, folder: Path, name: str) -> None:
    """Loads a folder in transformers, if it is installed, and compares logits at the tokens of the proof."""
    if not all(map(importlib.util.find_spec, ("torch", "transformers"))):
        return
    torch, transformers = map(importlib.import_module, ("torch", "transformers"))
    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    # BertModel has a pooler, which SimCSE does not train; the states are compared.
    assert [key for key in report["missing_keys"] if not key.startswith("pooler.")] == []
    assert not report["unexpected_keys"]
    inputs = json.loads((folder / "proof.json").read_text())["inputs"]
    if "texts" not in inputs:
        return
    arrays = {name: np.array(rows, np.int32) for name, rows in inputs["texts"].items()}
    pretrained = load_pretrained(run, carried=True)
    ours = outputs_of(pretrained, {"texts": arrays})["texts"]
    real = arrays["tokens"] != pretrained.spec.pad
    given = {"input_ids": arrays["tokens"], "attention_mask": real}
    if "decoder_tokens" in arrays:
        real = arrays["decoder_tokens"] != pretrained.spec.pad
        given |= {"decoder_input_ids": arrays["decoder_tokens"], "decoder_attention_mask": real}
    with torch.no_grad():
        found = model.eval()(**{k: torch.tensor(v).long() for k, v in given.items()})
    logits = found.get("logits", found.get("prediction_logits"))
    theirs = (found.last_hidden_state if logits is None else logits).numpy()
    wanted = ours.get("logits", ours.get("replaced", ours["states"]))
    np.testing.assert_allclose(theirs[real], wanted[real], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["quickstart", "t5_tiny", "clip_vitb16"])
def test_stablehlo_computes_the_same(recipe, word_rows, tmp_path):
    pytest.importorskip("flatbuffers")
    run = run_of(recipe, word_rows, tmp_path)
    done = export_run(run, tmp_path / "out", to="stablehlo")
    files = {path.name for path in (tmp_path / "out").glob("*.stablehlo")}
    assert files == (
        {"images.stablehlo", "texts.stablehlo"} if "clip" in recipe else {"model.stablehlo"}
    )
    assert done.difference <= 1e-5


@pytest.mark.slow
def test_it_is_a_sentence_transformer(word_rows, tmp_path):
    run = run_of("bert_tiny", word_rows, tmp_path)
    done = export_run(run, tmp_path / "out", to="sentence-transformers")
    assert done.difference <= 1e-5
    if not importlib.util.find_spec("sentence_transformers"):
        return
    library = importlib.import_module("sentence_transformers")
    encoder = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    vectors = encoder.encode(["ba", "de fi go ba"])

    np.testing.assert_allclose(vectors, load_embedder(run)(["ba", "de fi go ba"]), atol=1e-5)


@pytest.mark.slow
def test_what_was_in_bfloat16_goes_out_from_float32(word_rows, tmp_path):
    config = shrink("configs/bert_tiny.py", word_rows, tmp_path / "run")
    encoder = dataclasses.replace(config.objective.encoder, compute_dtype="bfloat16")
    config = dataclasses.replace(
        config, objective=dataclasses.replace(config.objective, encoder=encoder)
    )
    save_run(config, [(state_of(2, new_model(config)), {"loss": 1.0})])
    assert export_run(config.run, tmp_path / "out").difference <= 1e-5
