"""A small SigLIP, which reads the padding of texts."""

import numpy as np
import torch
import transformers

from tests.interop.huggingface.theirs.case import Case

BEGIN, END, PAD = 17, 18, 1
LAYERS = {
    "hidden_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 10,
}
VISION = LAYERS | {"image_size": 8, "patch_size": 4}
TEXT = LAYERS | {
    "vocab_size": 19,
    "max_position_embeddings": 5,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
    "pad_token_id": PAD,
}
random = np.random.default_rng(0)
INPUTS = {
    "pixels": random.normal(size=(3, 8, 8, 3)).round(3).astype(np.float32),
    "tokens": np.array(
        [[5, 7, 9, 11, END], [8, END, PAD, PAD, PAD], [4, 6, 2, END, PAD]], np.int32
    ),
}


def call(model, inputs, **options):
    return model(inputs["tokens"].long(), inputs["pixels"].permute(0, 3, 1, 2), **options)


def outputs(model, inputs):
    """Hidden states of both towers, embeddings of length one, and logits."""
    found = call(model, inputs, output_hidden_states=True)
    return {
        "image states": torch.stack(found.vision_model_output.hidden_states),
        "text states": torch.stack(found.text_model_output.hidden_states),
        "images": found.image_embeds,
        "texts": found.text_embeds,
        "logits": found.logits_per_image,
    }


def loss(model, inputs):
    return call(model, inputs, return_loss=True).loss


CONFIG = transformers.SiglipConfig(
    vision_config=VISION, text_config=TEXT, attn_implementation="eager"
)
CASES = {"SiglipModel": Case(transformers.SiglipModel(CONFIG), INPUTS, outputs, loss)}
