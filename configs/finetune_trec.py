"""What does a question ask for? TREC question classification, six classes (Li & Roth 2002).

    python finetune.py --config configs/finetune_trec.py --task.checkpoint runs/NAME
    … --data.train A/train.tsv --data.test A/test.tsv                   (files in a folder A)
    … --data.train-examples 2000 --run runs/trec_2000                   (few labels)
    … --from-scratch                                                    (random parameters)

Reads train.tsv and test.tsv in the folder trec: tab-separated, with the columns `question` and `label`.
A tenth of the 5,452 training questions is dev; test has 500 questions.
An encoder of 3.4 M parameters after 93 minutes on one core (configs/novels_encoder.py), 3 seeds:
83.5 ± 0.8 % with 2,000 examples (random parameters 75.7 ± 0.4), 88.5 ± 1.9 % with all (83.3 ± 1.5);
1 and 2 minutes a seed.

The peak suits encoders of a few million parameters, and so does the mean over the text as its
state; pass --optimizer.peak 3e-5 --task.pooling cls --task.pooler for one of BERT-base's size.
"""

from jaxssl.data import Labelled
from jaxssl.finetuning.setup import Finetuning
from jaxssl.optimizers.recipes import AdamW
from jaxssl.tasks.classify import Classify

config = Finetuning(
    data=Labelled(
        "trec/train.tsv",
        dev=0.1,
        test="trec/test.tsv",
        text="question",
    ),
    task=Classify("runs/quickstart", pooling="mean", pooler=False, network_dropout=0.1),
    optimizer=AdamW(peak=1e-3, warmup=60),
    batch=32,
    epochs=8,
    seeds=(0, 1, 2),
)
