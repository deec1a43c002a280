"""Labels for texts of your own, or for pairs of texts: any pretrained text network, any classes.

    python finetune.py --config configs/finetune_text.py --task.checkpoint runs/NAME --data.train train.tsv
    … --data.dev dev.tsv --data.test test.tsv              (files, instead of a tenth of train for each)
    … --data.text sentence --data.label mood               (names of the columns; --data.second for pairs)
    … --from-scratch --run runs/NAME_scratch               (random parameters, for comparison)

Reads a .tsv, .csv, .jsonl or .parquet file with the columns `text` and `label`. The mean over the text is
classified, which every text network has. The peak is for encoders of some ten million parameters; pass
--optimizer.peak 1e-3 for a few million, and --optimizer.peak 3e-5 --task.pooling cls --task.pooler for a
network of BERT-base's size.
"""

from jaxssl.data import Labelled
from jaxssl.finetuning.setup import Finetuning
from jaxssl.optimizers.recipes import AdamW
from jaxssl.tasks.classify import Classify

config = Finetuning(
    data=Labelled("train.tsv", dev=0.1, test=0.1),
    task=Classify("runs/quickstart", pooling="mean", pooler=False),
    optimizer=AdamW(peak=3e-4, warmup=0),
    batch=32,
    epochs=3,
)
