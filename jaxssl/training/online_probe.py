"""Measures during pretraining how well labels follow from the features; no label reaches the training.

At every evaluation a linear classifier is fitted anew on the features of some training images, without
changing the network, and its accuracy is measured on held-out images.
"""

from collections.abc import Callable

import jax

from jaxssl.data.images import Images
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.pretrained.images import (
    ImageEmbedder,
    embed_split,
    embedder_of,
    encoder_of,
    open_subset,
)
from jaxssl.tasks.probe import accuracy, probe_linear
from jaxssl.training.config import Pretraining
from jaxssl.training.step import TrainState

STRENGTH = 1e-3


def make_online_probe(config: Pretraining) -> Callable[[TrainState], dict[str, float]]:
    """Returns the function that measures the features of a state: state -> {"probe_accuracy": share}.

    It gives an empty dictionary where `config.probe_images` is 0. Raises InputError where the images have no
    labels, and on several hosts.
    """
    if not config.probe_images:
        return lambda state: {}
    if jax.process_count() > 1:
        raise InputError("the probe runs on one host; set probe_images=0, and probe afterwards")
    if not isinstance(config.data, Images):
        raise InputError("only images are probed; set probe_images=0")
    data, images = config.data, config.probe_images
    train, valid = (open_subset(data, split, images) for split in ("train", "valid"))
    if not (classes := train.spec.classes):
        raise InputError("there are no labels to probe with; set probe_images=0")
    embed: ImageEmbedder | None = None

    def probe(state: TrainState) -> dict[str, float]:
        nonlocal embed
        model = state.evaluated
        if embed is None:  # compiled once
            embed = embedder_of(config.objective, model, state.carried)
        now = embed.with_parameters(*encoder_of(model, state.carried))
        with TextProgress(silent=True) as silent:
            known, labels = embed_split(now, train, images, silent, "training images")
            features, truth = embed_split(now, valid, images, silent, "held-out images")
        linear = probe_linear(known, labels, classes, strengths=(STRENGTH,))
        return {"probe_accuracy": accuracy(linear.scores(features), truth)}

    return probe
