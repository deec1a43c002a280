"""Small masked autoencoders."""

import numpy as np
import torch
import transformers

from tests.interop.huggingface.theirs.case import Case

SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 10,
    "image_size": 12,
    "patch_size": 4,
    "decoder_hidden_size": 12,
    "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 3,
    "decoder_intermediate_size": 7,
    "norm_pix_loss": True,
    "mask_ratio": 0.7,
    "attn_implementation": "eager",
}
random = np.random.default_rng(0)
INPUTS = {
    "pixels": random.normal(size=(2, 12, 12, 3)).round(3).astype(np.float32),
    "noise": random.uniform(size=(2, 9)).round(4).astype(np.float32),
}


def outputs(model, inputs):
    """Hidden states of the visible patches, and the pixels of all."""
    pixels, noise = inputs["pixels"].permute(0, 3, 1, 2), inputs["noise"]
    found = model(pixels, noise=noise, output_hidden_states=True)
    results = {"states": torch.stack(found.hidden_states)}
    if hasattr(model, "decoder"):
        return results | {"logits": found.logits}
    return results | {"last": found.last_hidden_state}


def loss(model, inputs):
    return model(inputs["pixels"].permute(0, 3, 1, 2), noise=inputs["noise"]).loss


def name_of(saved):
    """What all folders of the hub have; transformers 5 writes another name and reads both."""
    return saved.replace("decoder.decoder_encoder.layer", "decoder.decoder_layers")


TABLES = ("position_embeddings", "decoder_pos_embed")
CASES = {
    "ViTMAEForPreTraining": Case(
        transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**SIZES)),
        INPUTS,
        outputs,
        loss,
        name_of=name_of,
        sines=TABLES,
    ),
    "ViTMAEModel": Case(
        transformers.ViTMAEModel(transformers.ViTMAEConfig(**SIZES)), INPUTS, outputs, sines=TABLES
    ),
}
