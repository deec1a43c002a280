"""Hugging Face's language models, as their users train them, in the shape of a recipe.

The head of BERT, ModernBERT and GPT-2 predicts at all positions, as their classes do. ELECTRA, of which
there is no joint model, is put together from two classes; its generator predicts at the hidden positions
alone, which is the faster way (see `benchmarks/electra_step.py`). Rows are full: no attention mask is passed.
"""

from typing import Any

import torch
import transformers
from torch import Tensor, nn

IGNORED = -100  # label of a position that is not predicted


def build(shape: dict[str, Any], batch: int, device: str) -> nn.Module:
    """Returns a module that makes its own rows (`rows()`) and returns the loss of them.

    Args:
      shape: Shape of a recipe, `cases.shape_of`.
      batch: Rows of a step.
      device: Where the rows are made.
    """
    rows = Rows(shape, batch, device)
    if shape["kind"] == "CausalLM":
        return Causal(shape, rows)
    if shape["kind"] == "Electra":
        return Electra(shape, rows)
    return Masked(shape, rows)


class Rows:
    """Rows of random tokens, the same at every step, and new masks."""

    def __init__(self, shape: dict[str, Any], batch: int, device: str):
        about = shape["rows"]
        self.first, self.end, self.mask = about["specials"], about["vocab_size"], about["mask"]
        self.rate = shape["objective"].get("rate", 0.0)
        size = (batch, about["length"])
        self.tokens = torch.randint(self.first, self.end, size, device=device)
        self.follows = torch.randint(2, (batch,), device=device)
        self.types = (torch.arange(about["length"], device=device) >= about["length"] // 2).long()
        self.types = self.types.expand(size)

    def masked(self, shares: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
        """Hides tokens as `DataCollatorForLanguageModeling` does. Returns inputs and labels."""
        hidden = torch.rand_like(self.tokens, dtype=torch.float32) < self.rate
        labels = torch.where(hidden, self.tokens, IGNORED)
        how = torch.rand_like(hidden, dtype=torch.float32)
        other = torch.randint_like(self.tokens, self.first, self.end)
        inputs = torch.where(hidden & (how < shares[0] + shares[1]), other, self.tokens)
        return torch.where(hidden & (how < shares[0]), self.mask, inputs), labels

    def positions(self) -> Tensor:
        """Chooses the same number of positions in every row, `[batch, masked]`."""
        count = round(self.rate * self.tokens.shape[1])
        return torch.rand_like(self.tokens, dtype=torch.float32).topk(count).indices


class Causal(nn.Module):
    """GPT-2 with its loss."""

    def __init__(self, shape: dict[str, Any], rows: Rows):
        super().__init__()
        self.made = rows
        net = shape["objective"]["decoder"]
        config = transformers.GPT2Config(
            vocab_size=rows.end,
            n_embd=net["width"],
            n_layer=net["depth"],
            n_head=net["heads"],
            n_inner=net["mlp"],
            n_positions=net["max_length"],
            embd_pdrop=net["dropout"],
            resid_pdrop=net["dropout"],
            attn_pdrop=attention_dropout(net),
            bos_token_id=2,
            eos_token_id=3,
            use_cache=False,
            attn_implementation="sdpa",
        )
        self.model = transformers.GPT2LMHeadModel(config)
        self.model.loss_type = (
            "ForCausalLM"  # the same loss without a warning, which breaks the graph
        )

    def rows(self) -> tuple[Tensor]:
        return (self.made.tokens,)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model(input_ids=tokens, labels=tokens).loss


class Masked(nn.Module):
    """BERT, with next-sentence prediction if the recipe has it, or ModernBERT."""

    def __init__(self, shape: dict[str, Any], rows: Rows):
        super().__init__()
        self.made, objective = rows, shape["objective"]
        self.shares = tuple(objective["shares"])
        net, pad = objective["encoder"], shape["rows"]["pad"]
        self.with_pairs = objective["second_task"] is not None
        if net["positions"] == "rotary":
            self.model = transformers.ModernBertForMaskedLM(modernbert_config(net, rows.end, pad))
            return
        config = transformers.BertConfig(**bert_fields(net, rows.end, pad))
        kind = transformers.BertForPreTraining if self.with_pairs else transformers.BertForMaskedLM
        self.model = kind(config)

    def rows(self) -> tuple[Tensor, Tensor]:
        return self.made.masked(self.shares)

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        more = {}
        if self.with_pairs:
            more = {"token_type_ids": self.made.types, "next_sentence_label": self.made.follows}
        return self.model(input_ids=tokens, labels=labels, **more).loss


class Electra(nn.Module):
    """Generator and discriminator with the embeddings of one, and the joint loss."""

    def __init__(self, shape: dict[str, Any], rows: Rows):
        super().__init__()
        self.made, objective, pad = rows, shape["objective"], shape["rows"]["pad"]
        self.weight, net = objective["discriminator_weight"], objective["discriminator"]
        configs = [
            transformers.ElectraConfig(
                **bert_fields(one, rows.end, pad), embedding_size=net["width"]
            )
            for one in (net, shape["generator"])
        ]
        self.discriminator = transformers.ElectraForPreTraining(configs[0])
        self.generator = transformers.ElectraForMaskedLM(configs[1])
        embeddings = self.discriminator.electra.embeddings
        self.generator.electra.embeddings = embeddings
        self.generator.generator_lm_head.weight = embeddings.word_embeddings.weight

    def rows(self) -> tuple[Tensor, Tensor]:
        return self.made.tokens, self.made.positions()

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        inputs = tokens.scatter(1, positions, self.made.mask)
        states = self.generator.electra(input_ids=inputs).last_hidden_state
        hidden = states.gather(1, positions[..., None].expand(-1, -1, states.shape[-1]))
        logits = self.generator.generator_lm_head(self.generator.generator_predictions(hidden))
        logits = logits.float()
        targets = tokens.gather(1, positions)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        noise = -torch.empty_like(logits).exponential_().log()
        drawn = (logits.detach() + noise).argmax(-1)
        read = tokens.scatter(1, positions, drawn)
        found = self.discriminator(input_ids=read, labels=(read != tokens).long())
        return loss + self.weight * found.loss


def attention_dropout(net: dict[str, Any]) -> float:
    """Returns the dropout rate of attention weights of a `TransformerConfig` as a dict."""
    return net["dropout"] if net["attention_dropout"] is None else net["attention_dropout"]


def bert_fields(net: dict[str, Any], vocab_size: int, pad: int) -> dict[str, Any]:
    """Returns the fields that the configurations of BERT and ELECTRA share."""
    return {
        "vocab_size": vocab_size,
        "hidden_size": net["width"],
        "num_hidden_layers": net["depth"],
        "num_attention_heads": net["heads"],
        "intermediate_size": net["mlp"] or 4 * net["width"],
        "max_position_embeddings": net["max_length"],
        "hidden_dropout_prob": net["dropout"],
        "attention_probs_dropout_prob": attention_dropout(net),
        "pad_token_id": pad,
        "attn_implementation": "sdpa",
    }


def modernbert_config(net: dict[str, Any], vocab_size: int, pad: int) -> Any:
    """Returns the configuration of ModernBERT."""
    return transformers.ModernBertConfig(
        vocab_size=vocab_size,
        hidden_size=net["width"],
        intermediate_size=net["mlp"],
        num_hidden_layers=net["depth"],
        num_attention_heads=net["heads"],
        max_position_embeddings=net["max_length"],
        global_attn_every_n_layers=net["global_every"],
        local_attention=2 * net["window"],
        pad_token_id=pad,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
        reference_compile=False,  # the whole model is compiled
        attn_implementation="sdpa",
    )
