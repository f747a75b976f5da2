"""Which captions are sentences of an STS set: compared word for word, whatever the case and the tokenisation."""

import pathlib
import unicodedata
from collections.abc import Iterable

from kdmcse_hf.evaluation.senteval import SICK_FILES, STSB_FILES, YEARS, find_file, read_lines, read_rows

_WORDS_OF_TOKENISERS = {"-lrb-": "(", "-rrb-": ")", "n't": "not", "``": "", "''": ""}


def normalised(sentence: str) -> str:
    """Letters and digits alone, in lower case, without spaces: `A dog 's ball .` and `a dog's ball` are one."""
    words = (_WORDS_OF_TOKENISERS.get(word, word) for word in sentence.lower().split())
    folded = unicodedata.normalize("NFKD", " ".join(words))
    return "".join(letter for letter in folded if letter.isalnum())


def sts_sentences(data: pathlib.Path) -> set[str]:
    """The normalised sentences of all STS sets: every split of STS-B and SICK, every line of STS12 to STS16.

    Args:
        data: SentEval's data directory. Lines of STS15 and STS16 that have no gold score count as well.

    Raises:
        FileNotFoundError: a file is missing.
    """
    found: set[str] = set()
    for name in STSB_FILES.values():
        for row in read_rows(find_file(data, "STS/STSBenchmark", "STSBenchmark", "", name=name), 7):
            found.update(map(normalised, row[5:7]))
    for name in SICK_FILES.values():
        for row in read_rows(find_file(data, "SICK", name=name), 4):
            found.update(map(normalised, row[1:3]))
    for task, subsets in YEARS.items():
        for subset in subsets:
            for line in read_lines(
                find_file(data, f"STS/{task}-en-test", f"{task}-en-test", name=f"STS.input.{subset}.txt")
            ):
                found.update(map(normalised, line.split("\t")[:2]))
    return found - {""}


def without(sentences: Iterable[str], excluded: set[str]) -> list[str]:
    """Those whose normalised form is not excluded."""
    return [sentence for sentence in sentences if normalised(sentence) not in excluded]
