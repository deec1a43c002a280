"""ELECTRA's step against Hugging Face's parts put together by hand, each in its own process, taking turns.

    python benchmarks/electra_step.py
    python benchmarks/electra_step.py --dropout 0 --repeats 20

ELECTRA-small (L12 H256, embeddings of 128, generator a quarter, vocabulary 30,522), 16 rows of 128 tokens in
float32: forward, backward, clipping to 1.0 and AdamW. Ours is the objective and the compiled step that
`train.py` runs, masks made inside. Theirs is `ElectraForMaskedLM` and `ElectraForPreTraining` with SDPA, the
embeddings of one, the generator's tokens drawn by Gumbel-max, the joint loss, and fused AdamW; once as these
classes are, and once with the generator's head at the masked places alone, which they do not offer. A ratio
is the median over turns next to each other.
"""

import argparse
from statistics import median
from types import SimpleNamespace
from typing import Any

from language_models import (
    PAD,
    RATE,
    LanguageModel,
    Program,
    hugging_face_step,
    mask_tokens,
    parts_of,
    program_of,
)
from turns import Side, Turn

EMBEDDING = 128
GENERATOR_SIZE = 1 / 4
DISCRIMINATOR_WEIGHT = 50.0
HEADER = (
    "| {} | s | tokens/s | jaxssl takes | spread of the ratio | peak MB | loss of the last step |\n"
    + "|---" * 7
    + "|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15, help="turns that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="turns before, which compile")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    model = LanguageModel(
        kind="bert",
        depth=options.depth,
        width=256,
        batch=options.batch,
        vocab_size=30_522,
        dropout=options.dropout,
        peak=5e-4,
    )
    turns = measure(model, options.repeats, options.warmup)
    print(
        HEADER.format(
            f"L{model.depth} H{model.width}, batch {model.batch}, dropout {model.dropout}"
        )
    )
    for name in turns:
        print(table_row(name, model, turns["jaxssl"], turns[name]))


def measure(model: LanguageModel, repeats: int, warmup: int) -> dict[str, list[Turn]]:
    """The turns of every side behind the warmup."""
    with (
        Side("jaxssl", make_ours, model) as ours,
        Side("HF parts", make_theirs, model, False) as whole,
        Side("HF parts, masked places gathered", make_theirs, model, True) as gathered,
    ):
        sides = (ours, whole, gathered)
        turns: dict[str, list[Turn]] = {side.name: [] for side in sides}
        for step in range(warmup + repeats):
            for side in sides:
                turns[side.name].append(side.turn(model.random_rows(step)))
    return {name: found[warmup:] for name, found in turns.items()}


def table_row(name: str, model: LanguageModel, ours: list[Turn], turns: list[Turn]) -> str:
    """Medians over all turns; the spread is that of the middle half."""
    seconds = median(turn.seconds for turn in turns)
    ratios = sorted(a.seconds / b.seconds for a, b in zip(ours, turns, strict=True))
    low, high = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
    cells = [
        name,
        f"{seconds:.3f}",
        f"{model.batch * model.length / seconds:,.0f}",
        f"{median(ratios):.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{turns[-1].peak_megabytes:.0f}",
        f"{turns[-1].answer:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def make_ours(wanted: LanguageModel) -> Program:
    """The objective and the compiled step that `train.py` runs."""
    from jaxssl.models.recipes import bert
    from jaxssl.objectives import Electra

    discriminator = bert(
        wanted.depth,
        wanted.width,
        wanted.heads,
        embedding_width=EMBEDDING,
        dropout=wanted.dropout,
        max_length=wanted.length,
    )
    _, _, state, step = parts_of(Electra(discriminator, GENERATOR_SIZE, rate=RATE), wanted)
    return program_of(state, step)


def make_theirs(wanted: LanguageModel, gathered: bool) -> Program:
    """Both models of Hugging Face, with the joint loss and torch's AdamW."""
    import torch

    torch.manual_seed(wanted.seed)
    step = hugging_face_step(joint_model(wanted, gathered), wanted)

    def run(rows: Any) -> float:
        return step(*mask_tokens(torch.from_numpy(rows).long(), wanted))

    return run


def joint_model(wanted: LanguageModel, gathered: bool) -> Any:
    """A module (input ids, labels) -> object with `loss`, as `hugging_face_step` trains."""
    import torch
    import transformers

    def config(width: int) -> Any:
        return transformers.ElectraConfig(
            vocab_size=wanted.vocab_size,
            embedding_size=EMBEDDING,
            hidden_size=width,
            num_hidden_layers=wanted.depth,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
            max_position_embeddings=wanted.length,
            hidden_dropout_prob=wanted.dropout,
            attention_probs_dropout_prob=wanted.dropout,
            pad_token_id=PAD,
            attn_implementation="sdpa",
        )

    class Joint(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            narrow = config(int(wanted.width * GENERATOR_SIZE))
            self.discriminator = transformers.ElectraForPreTraining(config(wanted.width))
            self.generator = transformers.ElectraForMaskedLM(narrow)
            embeddings = self.discriminator.electra.embeddings
            self.generator.electra.embeddings = embeddings
            self.generator.generator_lm_head.weight = embeddings.word_embeddings.weight

        def forward(self, input_ids: Any, labels: Any) -> Any:
            is_hidden = labels != -100
            generate = on_hidden if gathered else on_all
            loss, logits = generate(self.generator, input_ids, labels, is_hidden)
            noise = -torch.empty_like(logits).exponential_().log()
            originals = torch.where(is_hidden, labels, input_ids)
            inputs = originals.clone()
            inputs[is_hidden] = (logits.detach() + noise).argmax(dim=-1)
            found = self.discriminator(input_ids=inputs, labels=(inputs != originals).long())
            return SimpleNamespace(loss=loss + DISCRIMINATOR_WEIGHT * found.loss)

    return Joint()


def on_all(generator: Any, input_ids: Any, labels: Any, is_hidden: Any) -> tuple[Any, Any]:
    """(loss, logits of the hidden places), with the head at every place."""
    out = generator(input_ids=input_ids, labels=labels)
    return out.loss, out.logits[is_hidden]


def on_hidden(generator: Any, input_ids: Any, labels: Any, is_hidden: Any) -> tuple[Any, Any]:
    """The same, with the head where a token is hidden."""
    import torch

    states = generator.electra(input_ids=input_ids).last_hidden_state[is_hidden]
    logits = generator.generator_lm_head(generator.generator_predictions(states))
    return torch.nn.functional.cross_entropy(logits, labels[is_hidden]), logits


if __name__ == "__main__":
    main()
