"""The same parameters, rows and masks in jaxssl and in Hugging Face torch: losses must be the same.

    python benchmarks/same_start.py
    python benchmarks/same_start.py --fused      with our attention kernel for TPUs, interpreted; 10 minutes

Our fresh parameters are copied into `BertForMaskedLM` and `GPT2LMHeadModel`, our masks are handed to
it, and dropout is off. What is left is the network, the loss, clipping, AdamW, its decay mask and the
schedule, so the losses of all steps agree to float32's rounding; exit code 1 above 1e-4. Twenty
seconds. `parity.py` is the other half: each side's own draws, and real text.
"""

import sys
from functools import partial
from typing import Any

import jax
import numpy as np
import torch
from language_models import (
    SPECIALS,
    LanguageModel,
    hugging_face_model,
    hugging_face_step,
    parts_of_ours,
)

from jaxssl.models.layers import attention_choice
from jaxssl.models.layers.flash import attention as flash
from jaxssl.objectives.batches.batch import Text, Vocabulary
from jaxssl.sharding.layout import path_of

STEPS, TOLERANCE = 40, 1e-4
# Ours [in, out] -> theirs: torch.nn.Linear is [out, in], GPT-2's Conv1D is as ours
BERT_LAYER = {
    "attention/query": "attention.self.query",
    "attention/key": "attention.self.key",
    "attention/value": "attention.self.value",
    "attention/output": "attention.output.dense",
    "mlp/up": "intermediate.dense",
    "mlp/down": "output.dense",
}
GPT2_LAYER = {
    "attention/output": "attn.c_proj",
    "mlp/up": "mlp.c_fc",
    "mlp/down": "mlp.c_proj",
}


def main() -> None:
    shape = {"depth": 2, "width": 128, "batch": 8, "length": 32, "vocab_size": 512}
    if "--fused" in sys.argv:
        attention_choice.platform_of_mesh = lambda: "tpu"
        flash.flash_attention = partial(flash.flash_attention, interpret=True)
        shape |= {"length": 128}
    differences = []
    for kind in ("bert", "gpt2"):
        model = LanguageModel(kind=kind, dropout=0.0, steps=STEPS, warmup=4, peak=2e-3, **shape)
        losses = np.array(train_both(model))
        differences.append(np.abs(losses[:, 0] / losses[:, 1] - 1).max())
        print(
            f"{kind}: loss {losses[0, 0]:.6f} to {losses[-1, 0]:.6f} in {STEPS} steps, Hugging Face "
            f"{losses[0, 1]:.6f} to {losses[-1, 1]:.6f}; largest relative difference of a step "
            f"{differences[-1]:.1e}",
            flush=True,
        )
    if max(differences) > TOLERANCE:
        sys.exit(f"the losses differ by more than {TOLERANCE}")


def train_both(model: LanguageModel) -> list[tuple[float, float]]:
    """(ours, theirs) of every step."""
    objective, spec, state, step = parts_of_ours(model)
    copied = hugging_face_model(model)
    copy_parameters(state.model, copied, model)
    their_step, vocabulary, losses = hugging_face_step(copied, model), Vocabulary.of(spec), []
    for number in range(model.steps):
        rows = learnable_rows(model, number)
        # The key of step t, as the step makes it (jaxssl/training/step.py).
        key = jax.random.fold_in(jax.random.key(model.seed + 1), number)
        examples = objective.corrupt(
            Text(jax.numpy.asarray(rows), vocabulary), jax.random.split(key)[0]
        )
        state, metrics = step(state, {"tokens": rows})
        ours = float(metrics["loss"].total / metrics["loss"].weight)
        losses.append((ours, their_step(*as_labels(examples, rows, model))))
    return losses


def learnable_rows(model: LanguageModel, step: int) -> np.ndarray:
    """Frequent and rare tokens, and every second one says which comes next."""
    rows, random = model.random_rows(step), np.random.default_rng(step)
    frequency = 1 / np.arange(1, model.vocab_size - SPECIALS)
    shape = (model.batch, model.length // 2)
    drawn = random.choice(len(frequency), shape, p=frequency / frequency.sum()) + SPECIALS
    rows[:, 1::2] = drawn + 1
    rows[:, 2::2] = drawn[:, 1:]
    return rows


def as_labels(examples: Any, rows: np.ndarray, model: LanguageModel) -> tuple[Any, Any]:
    """Our examples as Hugging Face takes them: input ids, and labels that are -100 elsewhere."""
    inputs = torch.from_numpy(np.array(examples.inputs, np.int64))
    if model.kind == "gpt2":
        return inputs, inputs
    labels = np.full(rows.shape, -100, np.int64)
    row, place = np.nonzero(np.array(examples.weights))
    labels[row, np.array(examples.positions)[row, place]] = np.array(examples.targets)[row, place]
    return inputs, torch.from_numpy(labels)


def copy_parameters(ours: Any, theirs: Any, model: LanguageModel) -> None:
    """All kernels and embeddings; biases and norms are 0 and 1 in both."""
    leaves = jax.tree_util.tree_flatten_with_path(ours)[0]
    named = {path_of(keys): np.array(leaf) for keys, leaf in leaves}
    copied = (
        bert_parameters(named, model) if model.kind == "bert" else gpt2_parameters(named, model)
    )
    state = theirs.state_dict()
    for name, value in copied.items():
        state[name].copy_(torch.from_numpy(np.ascontiguousarray(value)))
    kernels = {name for name, parameter in theirs.named_parameters() if parameter.ndim > 1}
    if left := kernels - set(copied):
        raise ValueError(f"not copied: {left}")


def bert_parameters(named: dict[str, np.ndarray], model: LanguageModel) -> dict[str, np.ndarray]:
    tables = {"tokens": "word", "positions": "position", "types": "token_type"}
    copied = {
        f"bert.embeddings.{theirs}_embeddings.weight": named[f"encoder/{ours}/embedding"]
        for ours, theirs in tables.items()
    }
    copied["cls.predictions.transform.dense.weight"] = named["transform/kernel"].T
    for layer in range(model.depth):
        for ours, theirs in BERT_LAYER.items():
            kernel = named[f"encoder/layers/{ours}/kernel"][layer]
            copied[f"bert.encoder.layer.{layer}.{theirs}.weight"] = kernel.T
    return copied


def gpt2_parameters(named: dict[str, np.ndarray], model: LanguageModel) -> dict[str, np.ndarray]:
    copied = {
        "transformer.wte.weight": named["decoder/tokens/embedding"],
        "transformer.wpe.weight": named["decoder/positions/embedding"],
    }
    for layer in range(model.depth):
        for ours, theirs in GPT2_LAYER.items():
            kernel = named[f"decoder/layers/{ours}/kernel"][layer]
            copied[f"transformer.h.{layer}.{theirs}.weight"] = kernel
        paths = (f"decoder/layers/attention/{name}/kernel" for name in ("query", "key", "value"))
        parts = [named[path][layer] for path in paths]
        copied[f"transformer.h.{layer}.attn.c_attn.weight"] = np.concatenate(parts, axis=1)
    return copied


if __name__ == "__main__":
    main()
