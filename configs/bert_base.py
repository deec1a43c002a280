"""BERT-base (Devlin et al. 2019, L12 H768), masked LM with next-sentence prediction, on GPUs or TPUs.

    jaxssl prepare TEXT --into prepared/text --length 512 --tokenizer bert-base-uncased-vocab.txt
    python train.py --config configs/bert_base.py --data.path prepared/text

The published run: batch 256 of 512 tokens, 1 M steps on 16 TPU chips, 4 days. GLUE test 79.6; dev sets
MNLI 84.4, SST-2 92.7, CoLA 58.9 (appendix A.2 and table 1). It read rows of 128 tokens in the first 90 % of
its steps; here all have 512. Its Adam does not correct the bias of its moments; AdamW does.
"""

from jaxssl.data import Rows
from jaxssl.models import bert
from jaxssl.objectives import MaskedLM, NextSentence
from jaxssl.optimizers.recipes import AdamW
from jaxssl.training.config import Pretraining

config = Pretraining(
    data=Rows("prepared/text", batch=256),
    objective=MaskedLM(
        encoder=bert(depth=12, width=768, heads=12, compute_dtype="bfloat16"),
        second_task=NextSentence(),
    ),
    optimizer=AdamW(peak=1e-4, warmup=10_000),
    steps=1_000_000,
    save_every=5_000,
    evaluate_every=5_000,
)
