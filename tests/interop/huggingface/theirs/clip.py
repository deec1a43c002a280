"""A small CLIP."""

import numpy as np
import torch
import transformers

from tests.interop.huggingface.theirs.case import Case

BEGIN, END, PAD = 17, 18, 1
LAYERS = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 10,
}
VISION = LAYERS | {"hidden_size": 6, "image_size": 8, "patch_size": 4}
TEXT = LAYERS | {
    "hidden_size": 8,
    "vocab_size": 19,
    "max_position_embeddings": 7,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
    "pad_token_id": PAD,
}
random = np.random.default_rng(0)
INPUTS = {
    "pixels": random.normal(size=(3, 8, 8, 3)).round(3).astype(np.float32),
    "tokens": np.array(
        [
            [BEGIN, 5, 7, 9, 11, 3, END],
            [BEGIN, 8, END, PAD, PAD, PAD, PAD],
            [BEGIN, 4, 6, 2, END, PAD, PAD],
        ],
        np.int32,
    ),
}


def call(model, inputs, **options):
    real = inputs["tokens"] != PAD
    return model(
        inputs["tokens"].long(),
        inputs["pixels"].permute(0, 3, 1, 2),
        attention_mask=real.long(),
        **options,
    )


def outputs(model, inputs):
    """Hidden states of both towers, those of padding 0; embeddings of length one; logits."""
    found = call(model, inputs, output_hidden_states=True)
    texts = torch.stack(found.text_model_output.hidden_states)
    real = (inputs["tokens"] != PAD)[None, :, :, None]
    return {
        "image states": torch.stack(found.vision_model_output.hidden_states),
        "text states": torch.where(real, texts, 0.0),
        "images": found.image_embeds,
        "texts": found.text_embeds,
        "logits": found.logits_per_image,
    }


def loss(model, inputs):
    return call(model, inputs, return_loss=True).loss


CONFIG = transformers.CLIPConfig(
    vision_config=VISION, text_config=TEXT, projection_dim=5, attn_implementation="eager"
)
CASES = {"CLIPModel": Case(transformers.CLIPModel(CONFIG), INPUTS, outputs, loss)}
