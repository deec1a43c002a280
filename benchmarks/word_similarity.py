"""Do word vectors order pairs of words as a person would? Spearman on a small list made for this file.

    python -m benchmarks.word_similarity runs/skip_gram_novels

Beside it the same for random vectors of the same words (mean and standard deviation of 200 draws), and the
neighbours of ten common words.
"""

import argparse

import numpy as np

from jaxssl.pretrained.words import WordTable, load_word_table, show_neighbours
from jaxssl.tasks.scores import spearman

# 4 nearly the same, 3 the same kind, 2 of one scene, 1 far apart, 0 nothing in common
PAIRS = """
king queen 3    man woman 3      father mother 3   brother sister 3   son daughter 3    boy girl 3
day night 3     morning evening 3  sun moon 3      hand arm 3         eyes face 3       horse dog 3
door window 3   river sea 3      bread wine 2      gold silver 3      red blue 3        black white 3
happy glad 4    big large 4      quick swift 4     began started 4    road path 4       evil wicked 4
fear terror 4   house home 4     shouted cried 4   ship boat 4        war battle 3      gun sword 3
king horse 1    door bread 0     ship captain 2    church priest 2    fire smoke 2      night dark 2
letter wrote 2  sea wave 2       gun shot 2        tree forest 3      doctor sick 2     money rich 2
moon bread 0    sister river 0   gold evening 0    shouted blue 0     window war 0      path mother 0
wine daughter 0 silver began 0   dog moon 0        large priest 0     smoke brother 0   wicked boat 0
face battle 1   happy road 0     letter forest 0   hand captain 1     swift church 0    queen money 1
"""
COMMON = ("king", "house", "sea", "mother", "red", "night", "said", "horse", "good", "two")
DRAWS = 200


def known_pairs(table: WordTable) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Those pairs of the list whose words the table has, and how alike a person finds them."""
    words = PAIRS.split()
    rows = zip(words[::3], words[1::3], words[2::3], strict=True)
    known = [(a, b, float(score)) for a, b, score in rows if a in table.ids and b in table.ids]
    return [(a, b) for a, b, _ in known], np.array([score for *_, score in known])


def score(table: WordTable) -> float:
    """Spearman's correlation of the cosines with the list."""
    pairs, wanted = known_pairs(table)
    return spearman(np.array([table.similarity(a, b) for a, b in pairs]), wanted)


def random_scores(table: WordTable) -> np.ndarray:
    """What vectors without meaning reach."""
    random = np.random.default_rng(0)
    return np.array(
        [
            score(WordTable(table.words, random.normal(size=table.vectors.shape)))
            for _ in range(DRAWS)
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    options = parser.parse_args()
    for run in options.runs:
        table = load_word_table(run)
        chance = 100 * random_scores(table)
        print(
            f"{run}: {len(known_pairs(table)[0])} pairs of words, Spearman x 100: {100 * score(table):.1f}; "
            f"random vectors {chance.mean():.1f} ± {chance.std():.1f}"
        )
        print(show_neighbours(table, [word for word in COMMON if word in table.ids]))


if __name__ == "__main__":
    main()
