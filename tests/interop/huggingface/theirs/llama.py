"""Small decoders with Llama's layers."""

from functools import partial

import transformers

from tests.interop.huggingface.theirs.case import Case
from tests.interop.huggingface.theirs.decoders import INPUTS, VOCABULARY, loss, outputs

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 8,
    "intermediate_size": 10,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 9,
    "attn_implementation": "eager",
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 50.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def case(name, window=None, head="ForCausalLM", **changes):
    config = getattr(transformers, f"{name}Config")(**SIZES | changes)
    model = getattr(transformers, name + head)(config)
    trained = partial(loss, window=window) if hasattr(model, "lm_head") else None
    return Case(model, INPUTS, partial(outputs, window=window), trained)


CASES = {
    "LlamaForCausalLM": case("Llama", rope_parameters=LLAMA3, head_dim=6),
    "LlamaForCausalLM-biases": case(
        "Llama",
        attention_bias=True,
        mlp_bias=True,
        tie_word_embeddings=True,
        hidden_act="gelu_pytorch_tanh",
        rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0},
    ),
    "LlamaModel": case("Llama", head="Model"),
    "MistralForCausalLM": case("Mistral", window=2, sliding_window=2, rms_norm_eps=1e-3),
    "Qwen2ForCausalLM": case("Qwen2", tie_word_embeddings=True),
    "Qwen3ForCausalLM": case(
        "Qwen3",
        window=3,
        num_hidden_layers=3,
        head_dim=4,
        use_sliding_window=True,
        sliding_window=3,
        layer_types=["full_attention", "sliding_attention", "full_attention"],
    ),
}
