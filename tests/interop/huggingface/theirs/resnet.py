"""Small residual networks with batch norms."""

import numpy as np
import torch
import transformers

from tests.interop.huggingface.theirs.case import Case

random = np.random.default_rng(0)
INPUTS = {
    "pixels": random.normal(size=(2, 17, 33, 3)).round(1).astype(np.float32),
    "labels": np.array([1, 0], np.int32),
}
ONE = {"pixels": INPUTS["pixels"][:1]}


def outputs(model, inputs):
    """Maps behind the stem and every stage, by running statistics; features or logits."""
    network = getattr(model, "resnet", model)
    pixels = inputs["pixels"].permute(0, 3, 1, 2)
    found = network(pixels, output_hidden_states=True)
    results = {
        f"maps {number}": maps.permute(0, 2, 3, 1)
        for number, maps in enumerate(found.hidden_states)
        if number in (0, 1, 4)
    }
    if hasattr(model, "classifier"):
        return results | {"logits": model(pixels).logits}
    return results | {"features": found.pooler_output[:, :, 0, 0]}


def loss(model, inputs):
    """Cross-entropy with the statistics of the batch; the classifier is not trained."""
    model.train()
    model.classifier.requires_grad_(False)
    logits = model(inputs["pixels"].permute(0, 3, 1, 2)).logits
    return torch.nn.functional.cross_entropy(logits, inputs["labels"].long())


def config(kind, width, **changes):
    widths = [width * 2**stage * (4 if kind == "bottleneck" else 1) for stage in range(4)]
    return transformers.ResNetConfig(
        embedding_size=width,
        hidden_sizes=widths,
        depths=[1, 1, 1, 1],
        layer_type=kind,
        **changes,
    )


CASES = {
    "ResNetForImageClassification": Case(
        transformers.ResNetForImageClassification(config("basic", 3, num_labels=3)),
        INPUTS,
        outputs,
        loss,
    ),
    "ResNetModel": Case(transformers.ResNetModel(config("bottleneck", 2)), ONE, outputs),
    "ResNetModel-1x1": Case(
        transformers.ResNetModel(config("bottleneck", 2, downsample_in_bottleneck=True)),
        ONE,
        outputs,
    ),
}
