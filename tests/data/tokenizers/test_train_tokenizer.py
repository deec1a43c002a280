"""Training gives the same model everywhere, from text spread over all of the corpus."""

import subprocess
import sys

import pytest

from jaxssl.data.sources.standard_library import topics
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, sample_lines, train_sentencepiece
from jaxssl.errors import InputError
from tests.data.tiny_corpus import ENVIRONMENT

TRAIN = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # another machine: one core
from jaxssl.data.sources.standard_library import topics
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
texts = [text for _, text in topics()[:20]]
for kind in ("unigram", "bpe"):
    config = SentencePiece(400, kind, max_characters=50_000)
    print(train_sentencepiece(texts, config).fingerprint)
"""


def test_another_process_on_one_core_trains_the_same():
    texts = [text for _, text in topics()[:20]]
    here = [
        train_sentencepiece(texts, SentencePiece(400, kind, max_characters=50_000)).fingerprint
        for kind in ("unigram", "bpe")
    ]
    environment = {**ENVIRONMENT, "PYTHONHASHSEED": "7"}
    run = subprocess.run(
        [sys.executable, "-c", TRAIN], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stdout.split() == here


def test_the_sample_is_spread_over_all_of_the_text():
    texts = [f"line {i} of {t}\n\n{'word ' * 10}" for t in range(100) for i in range(10)]
    everything = [line for text in texts for line in text.split("\n") if line.strip()]
    assert sample_lines(texts, 10**9) == everything
    lines = sample_lines(iter(texts), 20_000)
    assert 0.8 * 20_000 < sum(map(len, lines)) <= 20_000
    numbers = [int(line.split()[-1]) for line in lines if line.startswith("line")]
    assert numbers == sorted(numbers)
    quarters = [sum(q * 25 <= n < (q + 1) * 25 for n in numbers) for q in range(4)]
    assert min(quarters) > 0.5 * max(quarters)


def test_long_lines_are_cut_at_spaces_and_none_is_lost():
    text = "word " * 3000 + "x" * 5000
    lines = sample_lines([text], 10**6)
    assert "".join(lines) == text
    assert max(map(len, lines)) <= 2000


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_the_highest_size_is_told_and_works(kind):
    texts = ["the quick brown fox jumps over the lazy dog. " * 20 + "\nanother line of text"]
    with pytest.raises(InputError, match="vocab_size 8192 is too high.*highest") as caught:
        train_sentencepiece(texts, SentencePiece(kind=kind))
    highest = int(str(caught.value).split()[-1])
    config = SentencePiece(highest, kind)
    assert train_sentencepiece(texts, config).vocab_size == highest


def test_sizes_and_texts_that_are_too_small():
    many = ["".join(chr(0x4E00 + i) for i in range(500))]
    with pytest.raises(InputError, match="vocab_size 300 is too low.*take 7"):
        train_sentencepiece(many, SentencePiece(300))
    with pytest.raises(InputError, match="no text to train"):
        train_sentencepiece(["", " \n"], SentencePiece(300))
    with pytest.raises(InputError, match="vocab_size 262 is below 263"):
        SentencePiece(262)
    with pytest.raises(InputError, match="vocab_size=99999999999 must be at most 4194304"):
        SentencePiece(99_999_999_999)
    with pytest.raises(InputError, match="character_coverage 2"):
        SentencePiece(character_coverage=2)


def test_case_folding_is_a_choice():
    texts = [text for _, text in topics()[:10]]
    folded = train_sentencepiece(texts, SentencePiece(400, normalization="nfkc_cf"))
    ids = folded.encode(["ＦULL Width\nLINES  two"])[0]
    assert folded.decode(ids) == "full width\nlines  two"
