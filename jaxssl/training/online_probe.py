"""How much the features tell of labels while they are being learned; no label ever reaches the training.

At every evaluation a linear classifier is fitted anew on features of some training images, which stay as they
are, and measured on held-out ones.
"""

from collections.abc import Callable

import jax

from jaxssl.data.images import ImageReader
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError
from jaxssl.tasks.probe import accuracy, probe_linear
from jaxssl.training.config import Pretraining, Reader
from jaxssl.training.image_embedding import embed_split, embedder_of, encoder_of
from jaxssl.training.step import TrainState

STRENGTH = 1e-3


def make_online_probe(
    config: Pretraining, held_out: Reader
) -> Callable[[TrainState], dict[str, float]]:
    """The function state -> {"probe_accuracy": share}; {} where `config.probe_images` is 0.

    Raises InputError for images without labels, and on several hosts.
    """
    if not config.probe_images:
        return lambda state: {}
    if not isinstance(held_out, ImageReader) or not held_out.spec.labels:
        raise InputError("there are no labels to probe with; set --probe-images 0")
    if jax.process_count() > 1:
        raise InputError("the probe runs on one host; set --probe-images 0, and judge afterwards")
    train = config.data.open("train", seed=config.seed, shuffle=False)
    classes, embed = held_out.spec.classes, None

    def probe(state: TrainState) -> dict[str, float]:
        nonlocal embed
        model = state.model if isinstance(state.average, tuple) else state.average
        if embed is None:  # compiled once
            embed = embedder_of(config.objective, model, state.carried)
        now = embed.another(*encoder_of(model, state.carried))
        with TextProgress(silent=True) as silent:
            known, labels = embed_split(now, train, config.probe_images, silent, "training images")
            features, truth = embed_split(
                now, held_out, config.probe_images, silent, "held-out images"
            )
        linear = probe_linear(known, labels, classes, strengths=(STRENGTH,))
        return {"probe_accuracy": accuracy(linear.scores(features), truth)}

    return probe
