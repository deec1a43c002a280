"""Small GPT-2s."""

import transformers

from tests.interop.huggingface.theirs.case import Case
from tests.interop.huggingface.theirs.decoders import INPUTS, VOCABULARY, loss, outputs

SIZES = {
    "vocab_size": VOCABULARY,
    "n_embd": 6,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 9,
    "attn_implementation": "eager",
}


def case(kind, **changes):
    model = kind(transformers.GPT2Config(**SIZES | changes))
    return Case(model, INPUTS, outputs, loss if hasattr(model, "lm_head") else None)


CASES = {
    "GPT2LMHeadModel": case(transformers.GPT2LMHeadModel),
    "GPT2LMHeadModel-changed": case(
        transformers.GPT2LMHeadModel,
        n_inner=10,
        scale_attn_weights=False,
        activation_function="relu",
        tie_word_embeddings=False,
        layer_norm_epsilon=1e-3,
    ),
    "GPT2Model": case(transformers.GPT2Model),
}
