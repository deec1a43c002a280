"""What is special in ELECTRA's folders (test_encoders.py has what all have)."""

import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.families.electra import FAMILY
from jaxssl.interop.huggingface.folder import read_folder
from jaxssl.interop.huggingface.rules import write_parameters
from jaxssl.models.recipes import bert
from jaxssl.objectives.electra import Electra
from tests.interop.huggingface.golden_files import golden, imported
from tests.interop.huggingface.random_folder import write_folder

CASES = golden("electra")


@pytest.mark.slow
def test_a_run_goes_out_as_two_folders(tmp_path):
    shape = bert(2, 8, 2, mlp=12, max_length=9, attention_dropout=0.1)
    objective = Electra(shape, generator_size=0.5)
    spec = imported(CASES["ElectraModel"], tmp_path / "any").spec
    model = objective.init(jax.random.key(0), spec)
    folders, networks = {}, {}
    for name in ("ElectraForMaskedLM", "ElectraForPreTraining"):
        config = FAMILY.config(objective, spec, name)
        tensors = dict(write_parameters(FAMILY.rules(objective, name), model))
        folders[name] = read_folder(write_folder(tmp_path / name, config, tensors))
        networks[name] = tensors
    generator, discriminator = folders.values()
    assert not generator.missing
    assert generator.objective.encoder == objective.generator
    assert discriminator.objective.discriminator == objective.discriminator
    words = "electra.embeddings.word_embeddings.weight"
    first, second = (tensors[words] for tensors in networks.values())
    np.testing.assert_array_equal(first, second)
    whole = model.whole_generator()
    jax.tree.map(np.testing.assert_array_equal, generator.model, whole)
    jax.tree.map(np.testing.assert_array_equal, discriminator.model.classifier, model.classifier)


def test_what_would_change_numbers_is_refused(tmp_path):
    entry = CASES["ElectraForMaskedLM"]
    for field, value in {"hidden_act": "relu", "embedding_size": 0}.items():
        folder = write_folder(tmp_path, entry["config"] | {field: value}, {})
        with pytest.raises(InputError, match=field):
            read_folder(folder)
