"""Small vision transformers with poolers and classifiers."""

import numpy as np
import torch
import transformers

from tests.interop.huggingface.theirs.case import Case

SIZES = {
    "hidden_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 10,
    "image_size": [8, 12],
    "patch_size": 4,
    "attn_implementation": "eager",
}
random = np.random.default_rng(0)
INPUTS = {
    "pixels": random.normal(size=(2, 8, 12, 3)).round(3).astype(np.float32),
    "labels": np.array([1, 0], np.int32),
}


def outputs(model, inputs):
    """Hidden states before the final norm, the state of the class token behind it, and logits."""
    found = model(inputs["pixels"].permute(0, 3, 1, 2), output_hidden_states=True)
    results = {"states": torch.stack(found.hidden_states)}
    if hasattr(model, "classifier"):
        return results | {"logits": found.logits}
    return results | {"features": found.last_hidden_state[:, 0]}


def loss(model, inputs):
    """Cross-entropy; the classifier is not trained, as ours does not know it."""
    model.classifier.requires_grad_(False)
    logits = model(inputs["pixels"].permute(0, 3, 1, 2)).logits
    return torch.nn.functional.cross_entropy(logits, inputs["labels"].long())


def config(**changes):
    return transformers.ViTConfig(**SIZES | changes)


CASES = {
    "ViTForImageClassification": Case(
        transformers.ViTForImageClassification(config(num_labels=3)), INPUTS, outputs, loss
    ),
    "ViTModel": Case(
        transformers.ViTModel(config(qkv_bias=False, hidden_act="gelu_new", layer_norm_eps=1e-6)),
        INPUTS,
        outputs,
    ),
}
