"""What is loaded from a run: the average or the raw parameters, of the best or the latest checkpoint."""

import json
import shutil

import jax
import jax.numpy as jnp
import pytest

from jaxssl.data.images import Images
from jaxssl.data.preparing.texts import Prepare
from jaxssl.data.rows import Rows
from jaxssl.data.sources.texts import StandardLibrary
from jaxssl.errors import InputError
from jaxssl.models.recipes import bert
from jaxssl.models.resnet import ResNetConfig
from jaxssl.objectives import MaskedLM, Rotation
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.checkpoint import Keep
from jaxssl.runs.description import describe
from jaxssl.training.config import Pretraining
from tests.pretrained.hand_made import filled, save_run, state_of

OBJECTIVE = MaskedLM(encoder=bert(1, 16, 2, max_length=32))


def text_config(word_rows, run, **fields):
    return Pretraining(Rows(word_rows, batch=4), OBJECTIVE, run=str(run), **fields)


def shapes(config):
    spec = config.data.open("train", seed=0).spec
    return jax.eval_shape(lambda: config.objective.init(jax.random.key(0), spec))


@pytest.fixture(scope="module")
def averaged_run(word_rows, tmp_path_factory):
    """After step s all parameters are s, and their averages s + 0.5; step 2 is the best, 4 the latest."""
    run = tmp_path_factory.mktemp("runs") / "averaged"
    config = text_config(word_rows, run, average=0.5, keep=Keep(latest=1))
    model = shapes(config)
    states = [
        state_of(step, filled(model, float(step)), average=filled(model, step + 0.5))
        for step in (2, 3, 4)
    ]
    losses = [{"loss": 0.1}, {"loss": 0.9}, {"loss": 0.5}]
    return save_run(config, list(zip(states, losses, strict=True)))


def only_value(model):
    values = {float(value) for leaf in jax.tree.leaves(model) for value in jnp.unique(leaf)}
    assert len(values) == 1
    return values.pop()


@pytest.mark.parametrize(
    ("options", "step", "value"),
    [
        ({}, 2, 2.5),
        ({"averaged": False}, 2, 2.0),
        ({"which": "latest"}, 4, 4.5),
        ({"which": "latest", "averaged": False}, 4, 4.0),
    ],
)
def test_the_average_of_the_best_checkpoint_is_loaded(averaged_run, options, step, value):
    pretrained = load_pretrained(averaged_run, **options)
    assert pretrained.step == step
    assert only_value(pretrained.model) == value


def test_what_comes_with_the_model(averaged_run, word_rows):
    pretrained = load_pretrained(averaged_run)
    assert pretrained.objective == pretrained.config.objective == OBJECTIVE
    reader = Rows(word_rows, batch=4).open("train", seed=0)
    assert pretrained.tokenizer.fingerprint == reader.tokenizer.fingerprint
    assert pretrained.spec.vocab_size == reader.spec.vocab_size
    assert pretrained.carried == ()
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[-1])
    for sharding in (None, device):
        leaves = jax.tree.leaves(load_pretrained(averaged_run, sharding=sharding).model)
        expected = {jax.local_devices()[0 if sharding is None else -1]}
        assert all(leaf.devices() == expected for leaf in leaves)


def test_without_an_average_the_parameters_are_loaded(word_rows, tmp_path):
    """The best is chosen by the metric that the run names, and is the latest where none is evaluated."""
    keep = Keep(best="accuracy", highest=True)
    config = text_config(word_rows, tmp_path / "run", keep=keep)
    model = shapes(config)
    states = [state_of(step, filled(model, float(step))) for step in (1, 2, 3)]
    accuracies = [{"accuracy": 0.2}, {"accuracy": 0.6}, {"accuracy": 0.4}]
    save_run(config, list(zip(states, accuracies, strict=True)))
    pretrained = load_pretrained(config.run)
    assert (pretrained.step, only_value(pretrained.model)) == (2, 2.0)
    other = text_config(word_rows, tmp_path / "other")
    save_run(other, [(state, None) for state in states])
    assert load_pretrained(other.run).step == 3


def test_the_carried_state_is_loaded_where_it_is_asked_for(picture_set, tmp_path):
    objective = Rotation(ResNetConfig(10, width=8, norm="batch"))
    config = Pretraining(Images(picture_set, batch=8), objective, run=str(tmp_path / "run"))
    model = shapes(config)
    carried = jax.eval_shape(objective.init_state, model)
    save_run(config, [(state_of(1, filled(model, 1.0), carried=filled(carried, 2.0)), None)])
    assert load_pretrained(config.run).carried == ()
    pretrained = load_pretrained(config.run, carried=True)
    assert jax.tree.structure(pretrained.carried) == jax.tree.structure(carried)
    assert only_value(pretrained.carried) == 2.0
    with pytest.raises(InputError, match="has read images and no text"):
        _ = pretrained.tokenizer


def test_what_cannot_be_loaded(word_rows, tmp_path):
    with pytest.raises(InputError, match="none is no run: it has no config.json"):
        load_pretrained(tmp_path / "none")
    config = text_config(word_rows, tmp_path / "run")
    save_run(config, [])
    with pytest.raises(InputError, match="holds no checkpoint yet; train it first"):
        load_pretrained(config.run)
    with pytest.raises(InputError, match="mine.py is not a Python file"):
        load_pretrained(config.run, code=["mine.py"])


def test_reading_a_run_prepares_nothing(averaged_run, tmp_path):
    """A run may come from elsewhere: where its rows are missing, it does not say how to make them."""
    run, elsewhere = shutil.copytree(averaged_run, tmp_path / "run"), tmp_path / "elsewhere"
    recipe = Prepare(StandardLibrary(), length=32, workers=1)
    record = json.loads((run / "config.json").read_text())
    record["config"]["data"] |= {"path": str(elsewhere), "prepare": describe(recipe)}
    (run / "config.json").write_text(json.dumps(record))
    data = load_pretrained(run).config.data
    assert data.prepare is None
    with pytest.raises(InputError, match="elsewhere does not exist; make it with: jaxssl prepare"):
        data.open("valid", seed=0)
    assert list(tmp_path.iterdir()) == [run]


def test_another_tokenizer_in_the_folder_is_refused(averaged_run, tmp_path):
    run = shutil.copytree(averaged_run, tmp_path / "run")
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**record, "tokenizer": "0" * 64}))
    with pytest.raises(
        InputError, match="run/tokenizer is not the one that the run was trained with"
    ):
        load_pretrained(run)
    del record["tokenizer"]  # as an earlier version wrote it
    (run / "config.json").write_text(json.dumps(record))
    assert load_pretrained(run).step == 2


def test_a_certain_step_is_loaded(averaged_run):
    assert load_pretrained(averaged_run, which=4).step == 4
    with pytest.raises(InputError, match="has no checkpoint of step 3; it has those of 2, 4"):
        load_pretrained(averaged_run, which=3)


def test_a_flipped_bit_is_found(averaged_run, tmp_path):
    run = shutil.copytree(averaged_run, tmp_path / "run")
    file = max((run / "checkpoints/2").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(
        InputError, match="checkpoints/2 is damaged: .* another sha256 .* step 4 is"
    ):
        load_pretrained(run)
    assert load_pretrained(run, which="latest").step == 4


@pytest.mark.parametrize(
    "described", [{}, {"class": "jaxssl.finetuning.setup:Finetuning"}, {"class": 5}]
)
def test_a_config_of_something_else_is_refused(averaged_run, tmp_path, described):
    run = shutil.copytree(averaged_run, tmp_path / "run")
    record = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**record, "config": described}))
    with pytest.raises(InputError, match="is no run of a pretraining"):
        load_pretrained(run)
