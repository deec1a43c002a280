"""The same language model, its loss and its optimizer, from jaxssl and from Hugging Face torch.

Both take rows of tokens and give the loss of a step: forward, backward, clipping, AdamW. Each draws
its own masks. Parameters start at the same scale, and decay applies to the same ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

PAD, UNKNOWN, BEGIN, END, MASK = range(5)  # special tokens are the first ids
SPECIALS = 5
RATE = 0.15  # of the tokens are predicted; of them 80 % masked, 10 % random, 10 % unchanged

Program = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class LanguageModel:
    """What both sides build."""

    kind: Literal["bert", "gpt2"]
    depth: int
    width: int
    batch: int
    length: int = 128
    vocab_size: int = 8192
    dropout: float = 0.1
    steps: int = 500
    warmup: int = 50  # then linear to zero
    peak: float = 1e-3
    decay: float = 0.01
    seed: int = 0

    @property
    def heads(self) -> int:
        return self.width // 64 or 1

    def random_rows(self, step: int) -> np.ndarray:
        """Rows of one piece each, whose tokens mean nothing."""
        shape, random = (self.batch, self.length), np.random.default_rng(step)
        rows = random.integers(SPECIALS, self.vocab_size, shape, np.int32)
        rows[:, 0] = BEGIN
        return rows


def make_ours(wanted: LanguageModel) -> Program:
    """The objective and the compiled step that `train.py` runs."""
    _, _, state, step = parts_of_ours(wanted)
    return program_of(state, step)


def program_of(state: Any, step: Any) -> Program:
    """Takes a step with the rows that it is given, and keeps the state."""
    import jax

    def run(rows: np.ndarray) -> float:
        nonlocal state
        state, metrics = jax.block_until_ready(step(state, {"tokens": rows}))
        return float(metrics["loss"].total / metrics["loss"].weight)

    return run


def parts_of_ours(wanted: LanguageModel) -> tuple[Any, Any, Any, Any]:
    """(objective, description of the rows, first state, compiled step)"""
    from jaxssl.models.recipes import bert, gpt2
    from jaxssl.objectives import CausalLM, MaskedLM

    shape = (wanted.depth, wanted.width, wanted.heads)
    changes = {"dropout": wanted.dropout, "max_length": wanted.length}
    is_bert = wanted.kind == "bert"
    objective = (
        MaskedLM(bert(*shape, **changes), rate=RATE)
        if is_bert
        else CausalLM(gpt2(*shape, **changes))
    )
    return parts_of(objective, wanted)


def parts_of(objective: Any, wanted: LanguageModel) -> tuple[Any, Any, Any, Any]:
    """The same for any objective; of `wanted`, rows and optimizer count."""
    from jaxssl.data.rows import Rows, TextSpec, even_frequency
    from jaxssl.optimizers.recipes import AdamW
    from jaxssl.sharding.mesh import Mesh
    from jaxssl.training.config import Pretraining
    from jaxssl.training.step import create_state, make_step

    config = Pretraining(
        data=Rows("rows come through a pipe", batch=wanted.batch),
        objective=objective,
        optimizer=AdamW(peak=wanted.peak, warmup=wanted.warmup, decay=wanted.decay),
        steps=wanted.steps,
        seed=wanted.seed,
    )
    ids = np.arange(wanted.vocab_size)
    spec = TextSpec(
        batch=wanted.batch,
        length=wanted.length,
        vocab_size=wanted.vocab_size,
        pad=PAD,
        unknown=UNKNOWN,
        begin=BEGIN,
        end=END,
        mask=MASK,
        starts_word=ids >= 0,
        byte_length=np.where(ids < SPECIALS, 0, 4),
        special=ids < SPECIALS,
        ends_sentence=ids < 0,
        count=lambda: even_frequency(ids < SPECIALS),
    )
    mesh, optimizer = Mesh().make(), config.optimizer.make(wanted.steps)
    state = create_state(config, optimizer, spec, mesh)
    return config.objective, spec, state, make_step(config, optimizer, spec, mesh)


def make_hugging_face(wanted: LanguageModel) -> Program:
    """`BertForMaskedLM` or `GPT2LMHeadModel` as their users train them."""
    import torch

    torch.manual_seed(wanted.seed)
    step = hugging_face_step(hugging_face_model(wanted), wanted)

    def run(rows: np.ndarray) -> float:
        tokens = torch.from_numpy(rows).long()
        masked = mask_tokens(tokens, wanted) if wanted.kind == "bert" else (tokens, tokens)
        return step(*masked)

    return run


def hugging_face_step(model: Any, wanted: LanguageModel) -> Callable[[Any, Any], float]:
    """Input ids and labels -> loss, with torch's AdamW and Hugging Face's schedule."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    model.train()
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": wanted.decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=wanted.peak, betas=(0.9, 0.999), eps=1e-6, fused=True)
    schedule = get_linear_schedule_with_warmup(optimizer, wanted.warmup, wanted.steps)

    def step(inputs: Any, labels: Any) -> float:
        loss = model(input_ids=inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        return loss.item()

    return step


def hugging_face_model(wanted: LanguageModel) -> Any:
    """The network with fresh parameters and fused attention (SDPA)."""
    import transformers

    shared = {"vocab_size": wanted.vocab_size, "attn_implementation": "sdpa"}
    if wanted.kind == "bert":
        config = transformers.BertConfig(
            hidden_size=wanted.width,
            num_hidden_layers=wanted.depth,
            num_attention_heads=wanted.heads,
            intermediate_size=4 * wanted.width,
            max_position_embeddings=wanted.length,
            hidden_dropout_prob=wanted.dropout,
            attention_probs_dropout_prob=wanted.dropout,
            pad_token_id=PAD,
            **shared,
        )
        return transformers.BertForMaskedLM(config)
    config = transformers.GPT2Config(
        n_embd=wanted.width,
        n_layer=wanted.depth,
        n_head=wanted.heads,
        n_positions=wanted.length,
        embd_pdrop=wanted.dropout,
        resid_pdrop=wanted.dropout,
        attn_pdrop=wanted.dropout,
        bos_token_id=BEGIN,
        eos_token_id=END,
        **shared,
    )
    return transformers.GPT2LMHeadModel(config)


def mask_tokens(tokens: Any, wanted: LanguageModel) -> tuple[Any, Any]:
    """As `DataCollatorForLanguageModeling` does: every token with probability RATE."""
    import torch

    draw = torch.rand(tokens.shape)
    is_hidden = (draw < RATE) & (tokens >= SPECIALS)
    labels = torch.where(is_hidden, tokens, -100)
    how = torch.rand(tokens.shape)
    replacement = torch.randint(wanted.vocab_size, tokens.shape)
    inputs = torch.where(is_hidden & (how < 0.9), replacement, tokens)
    return torch.where(is_hidden & (how < 0.8), MASK, inputs), labels
