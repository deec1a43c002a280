"""Is a sentence of a film review positive? SST-2, two classes (Socher et al. 2013).

    python finetune.py --config configs/finetune_sst2.py --task.checkpoint runs/NAME
    … --data.train A/train.tsv --data.dev A/dev.tsv --data.test A/test.tsv   (files in a folder A)
    … --data.train-examples 2000 --epochs 6 --run runs/sst2_2000       (few labels)
    … --from-scratch                                                    (random parameters)

Reads train.tsv, dev.tsv and test.tsv in the folder sst2: tab-separated as in GLUE, with the columns
`sentence` and `label`. Test is GLUE's dev set of 872 sentences; dev is a tenth of GLUE's training file.
An encoder of 3.4 M parameters after 93 minutes on one core (configs/novels_encoder.py), 3 seeds:
74.0 ± 1.1 % with 2,000 examples (random parameters 70.9 ± 0.9), 80.8 ± 0.4 % with all
(79.9 ± 0.1); 1 and 5 minutes a seed.
Published accuracy: BERT-Tiny 83.2, BERT-base 93.5 on GLUE's hidden test (Turc et al. 2019; Devlin
et al. 2019, table 1).

The peak suits encoders of a few million parameters, and so does the mean over the text as its
state; pass --optimizer.peak 3e-5 --task.pooling cls --task.pooler for one of BERT-base's size.
"""

from jaxssl.data import Labelled
from jaxssl.finetuning.setup import Finetuning
from jaxssl.optimizers.recipes import AdamW
from jaxssl.tasks.classify import Classify

config = Finetuning(
    data=Labelled(
        "sst2/train.tsv",
        dev="sst2/dev.tsv",
        test="sst2/test.tsv",
        text="sentence",
        dev_examples=2_000,
        buckets=6,
    ),
    task=Classify("runs/quickstart", pooling="mean", pooler=False, network_dropout=0.1),
    optimizer=AdamW(peak=1e-3, warmup=60),
    batch=32,
    epochs=2,
    seeds=(0, 1, 2),
)
