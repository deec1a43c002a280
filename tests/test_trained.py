"""`jaxssl.load`: what each kind of run can do, one input and several, and what the others are told."""

import dataclasses
import shlex
from pathlib import Path

import numpy as np
import pytest

import finetune
import jaxssl
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from jaxssl.finetuning.setup import Finetuning
from jaxssl.models.resnet import ResNetConfig
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives import CausalLM, ImageText, Rotation, WordVectors
from jaxssl.pretrained.load import Pretrained
from jaxssl.pretrained.texts import load_embedder
from jaxssl.tools.shipped import recipe_file
from jaxssl.trained import load_trained
from jaxssl.training.config import read_config
from tests.data.tiny_corpus import write_vocabulary
from tests.pretrained.hand_made import new_model, save_run, state_of
from tests.shrink import prepare_words, shrink
from tests.test_finetune import small
from tests.test_stored_runs import copy
from tests.tiny import tiny_image_spec, tiny_images, tiny_spec

TEXT = TransformerConfig(depth=1, width=16, heads=2, mlp=32, max_length=16)
TEXTS = ["bar ben", "bir", "bos but bar"]


@pytest.fixture(scope="module")
def masked_run(tmp_path_factory):
    """The folder of a masked LM with random parameters."""
    folder = tmp_path_factory.mktemp("masked")
    config = shrink("configs/quickstart.py", prepare_words(folder), folder / "run")
    return save_run(config, [(state_of(3, new_model(config)), {"loss": 1.0})])


@pytest.fixture
def loaded(tmp_path, monkeypatch, key):
    """A function that loads a model of an objective with random parameters, without a run on disk."""
    tokenizer = load_tokenizer(write_vocabulary(tmp_path))

    def load(objective, spec, with_texts=True):
        model = objective.init(key, spec)
        texts = tokenizer if with_texts else None
        carried = objective.init_state(model)
        found = Pretrained(None, objective, spec, texts, model, 5, carried)
        monkeypatch.setattr("jaxssl.trained.load_pretrained", lambda run, **_: found)
        return jaxssl.load("runs/x")

    return load


def text_spec():
    return tiny_spec(length=16, vocab_size=105)


def test_a_masked_language_model_embeds_and_fills(masked_run):
    model = jaxssl.load(masked_run)
    assert model.can == ("embed texts", "fill masks")
    assert repr(model) == (
        f"TrainedModel({masked_run!r}: a pretraining with MaskedLM, step 3; "
        "it can embed texts and fill masks)"
    )
    vectors = model.embed(TEXTS)
    np.testing.assert_array_equal(vectors, load_embedder(masked_run)(TEXTS))
    np.testing.assert_allclose(model.embed(TEXTS[1]), vectors[1], rtol=1e-4, atol=1e-5)
    assert model.embed([]).shape == (0, 32)
    every = model.fill(["bar [MASK] ben", "[MASK] [MASK]"], count=3)
    assert [[len(guesses) for guesses in text] for text in every] == [[3], [3, 3]]
    one = model.fill("bar [MASK] ben", count=3)
    assert [guess.text for guess in one[0]] == [guess.text for guess in every[0][0]]


def test_a_finetuning_predicts(masked_run, tmp_path):
    config = small(masked_run, tmp_path)
    finetune.run(config)
    model = jaxssl.load(config.run)
    assert model.can == ("predict labels",)
    labels = model.predict(TEXTS)
    assert [model.predict(text) for text in TEXTS] == labels
    assert set(labels) <= {"no", "yes"}
    assert jaxssl.load(config.folder).predict(TEXTS) == labels
    with pytest.raises(InputError, match="finetuned on single texts"):
        model.predict("bar", "ben")
    with pytest.raises(InputError, match="must both be one text"):
        model.predict(TEXTS, "ben")
    wanted = rf"a finetuning with Classify: it can predict labels, not {{}}; .* '{masked_run}'"
    with pytest.raises(InputError, match=wanted.format("embed texts")):
        model.embed("bar")
    with pytest.raises(InputError, match=wanted.format("fill masks")):
        model.fill("bar [MASK]")


def test_what_a_pretraining_cannot_do(masked_run, loaded):
    with pytest.raises(
        InputError, match=r"not predict labels; finetune it \(jaxssl finetune"
    ) as told:
        jaxssl.load(masked_run).predict("bar")
    command = shlex.split(str(told.value).partition("(")[2].partition(")")[0])
    flags = ["--config", str(recipe_file(command[2])), *command[3:]]
    assert read_config(Finetuning, "", flags).task.checkpoint == masked_run
    with pytest.raises(InputError, match="not embed images; load a run that has read images"):
        jaxssl.load(masked_run).embed(np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="texts must be strings"):
        jaxssl.load(masked_run).embed([1, 2])
    causal = loaded(CausalLM(dataclasses.replace(TEXT, causal=True)), text_spec())
    assert causal.can == ("embed texts", "generate texts")
    with pytest.raises(
        InputError,
        match=r"with CausalLM: it can embed texts and generate texts, not fill masks; load",
    ):
        causal.fill("bar [MASK]")
    words = loaded(WordVectors(width=8), text_spec())
    assert words.can == ()
    with pytest.raises(InputError, match="load a finetuning of a run that has read text"):
        words.predict("bar")
    with pytest.raises(InputError, match="it can only be looked into, not embed texts"):
        words.embed("bar")


def test_images_are_embedded(loaded):
    spec = tiny_image_spec()
    model = loaded(Rotation(encoder=ResNetConfig(10, width=8)), spec, with_texts=False)
    assert model.can == ("embed images",)
    pixels = tiny_images(batch=3)
    features = model.embed(pixels)
    assert features.shape == (3, 64)
    np.testing.assert_allclose(model.embed(pixels[2]), features[2], rtol=1e-4, atol=1e-5)
    wrong = [pixels[:, :8], pixels / 255, pixels[..., 0], list(pixels)]
    for inputs, line in zip(
        wrong, ["uint8 of shape", "float64 of shape", "uint8 of", "texts"], strict=True
    ):
        with pytest.raises(InputError, match=line):
            model.embed(inputs)


def test_images_and_texts_are_embedded_in_one_space(loaded):
    spec = dataclasses.replace(tiny_image_spec(), captions=text_spec())
    objective = ImageText(ResNetConfig(10, width=8), TEXT, width=12)
    model = loaded(objective, spec)
    assert model.can == ("embed images", "embed texts")
    pixels = tiny_images(batch=2)
    assert model.embed(pixels).shape == (2, 12)
    assert model.embed(pixels[0]).shape == (12,)
    assert model.embed(TEXTS).shape == (3, 12)
    assert model.embed("bar").shape == (12,)


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(InputError, match="is no run"):
        load_trained(tmp_path)
    with pytest.raises(InputError, match=r"mine.py .*name a file that ends in .py"):
        load_trained(tmp_path, code=[tmp_path / "mine.py"])


def test_a_run_on_an_object_store(masked_run, bucket):
    url = copy(Path(masked_run), f"{bucket}/run")
    np.testing.assert_array_equal(
        jaxssl.load(url).embed(TEXTS), jaxssl.load(masked_run).embed(TEXTS)
    )
