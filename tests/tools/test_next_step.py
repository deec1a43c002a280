"""The command that prepare proposes is one that train takes, and its network takes the prepared set."""

import shlex
from types import SimpleNamespace

import jax
import pytest

from jaxssl.data.images import ImageSpec
from jaxssl.data.prepared.image_manifest import ImageManifest
from jaxssl.data.prepared.manifest import Manifest
from jaxssl.tools.next_step import training_command
from jaxssl.tools.shipped import recipe_file
from jaxssl.training.config import Pretraining, read_config
from tests.tiny import tiny_spec


def text(tokens, length):
    shards = {"train": (SimpleNamespace(tokens=tokens),)}
    return Manifest(length, "uint16", 300, 0, 1, 2, 3, 4, "0" * 64, 0, splits=shards, config={})


def images(height, width, length=0):
    captions = (length, "uint16", "0" * 64) if length else (0, "", "")
    return ImageManifest(height, width, 3, (), *captions, splits={}, config={})


@pytest.mark.parametrize(
    ("manifest", "command"),
    [
        (text(1000, 128), "bert_tiny --data.path 'my set'"),
        (text(9_000_000, 64), "bert_small --data.path 'my set'"),
        (
            text(1000, 1024),
            "bert_tiny --data.path 'my set' --objective.encoder.max-length 1024",
        ),
        (images(33, 20), "simclr_cifar10 --data.path 'my set'"),
        (images(64, 64, 32), "siglip_tiny --data.path 'my set'"),
        (
            images(30, 60, 40),
            "siglip_tiny --data.path 'my set' --objective.encoder.patch 10 "
            "--objective.text.max-length 40",
        ),
    ],
)
def test_the_command_fits_the_set(manifest, command):
    found = training_command(manifest, "my set")
    assert found == f"jaxssl train {command}"
    _, _, recipe, *flags = shlex.split(found)
    config = read_config(Pretraining, "", ["--config", str(recipe_file(recipe)), *flags])
    assert config.data.path == "my set"
    rows = tiny_spec(length=manifest.length or 8, vocab_size=300)
    spec = rows
    if isinstance(manifest, ImageManifest):
        captions = rows if manifest.length else None
        spec = ImageSpec(4, manifest.height, manifest.width, 3, captions=captions)
    jax.eval_shape(lambda key: config.objective.init(key, spec), jax.random.key(0))
