"""Small BARTs."""

import transformers

from tests.interop.huggingface.theirs.case import Case
from tests.interop.huggingface.theirs.pairs import INPUTS, VOCABULARY, loss, outputs

SIZES = {
    "vocab_size": VOCABULARY,
    "d_model": 6,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 10,
    "decoder_ffn_dim": 7,
    "max_position_embeddings": 9,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "forced_eos_token_id": 1,
    "decoder_start_token_id": 1,
    "attn_implementation": "eager",
}


def case(kind, **changes):
    model = kind(transformers.BartConfig(**SIZES | changes))
    return Case(model, INPUTS, outputs, loss if hasattr(model, "lm_head") else None)


CASES = {
    "BartForConditionalGeneration": case(
        transformers.BartForConditionalGeneration, scale_embedding=True
    ),
    "BartModel": case(transformers.BartModel, activation_function="gelu_new"),
}
