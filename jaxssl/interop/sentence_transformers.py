"""Writes what makes a Hugging Face folder of a network of texts a `SentenceTransformer`: its modules."""

from pathlib import Path
from typing import Literal

from jaxssl.data.stores.json_files import write_json

MODES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"} | {
    "last": "pooling_mode_lasttoken"
}


def write_modules(
    folder: Path, *, width: int, pooling: Literal["mean", "cls", "last"], max_length: int
) -> None:
    """Writes `modules.json` and the settings of the modules: the network, and pooling of its states.

    Args:
      folder: Folder with the config.json and the tensors of the network.
      width: Width of the states.
      pooling: How the states of a text become its vector: their mean, or the first or the last of them.
      max_length: Tokens behind which a text is truncated.
    """
    package = "sentence_transformers.models"
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling")]
    write_json(
        folder / "modules.json",
        [
            {"idx": int(name), "name": name, "path": path, "type": f"{package}.{kind}"}
            for name, path, kind in modules
        ],
        indent=2,
    )
    settings = {"max_seq_length": max_length, "do_lower_case": False}
    write_json(folder / "sentence_bert_config.json", settings, indent=2)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    chosen = {field: name == pooling for name, field in MODES.items()}
    write_json(
        folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width} | chosen, indent=2
    )
    similarity = {"similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", similarity, indent=2)
