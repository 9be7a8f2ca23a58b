"""Words of a review: cleaning and tokens, for English and Chinese."""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable

_TAG = re.compile(r"<[^>]{1,200}>")
_LONG = re.compile(r"(.)\1{3,}")
_WORD = re.compile(r"(?u)\b\w\w+\b")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_HAN_OR_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_]+")

Analyzer = Callable[[str], list[str]]


def clean_text(text: str) -> str:
    """HTML taken out, full-width forms made half-width, sooooo shortened to sooo."""
    text = _TAG.sub(" ", html.unescape(text))
    text = _LONG.sub(r"\1\1\1", unicodedata.normalize("NFKC", text))
    return " ".join(text.split())


def guess_language(texts: Iterable[str]) -> str:
    """"zh" if more than a tenth of the characters are Chinese, else "en"."""
    sample = "".join(text[:200] for text, _ in zip(texts, range(200)))
    return "zh" if len(_HAN.findall(sample)) * 10 > len(sample) else "en"


def words(text: str) -> list[str]:
    """Runs of two or more letters, digits or underscores, in lower case: scikit-learn's tokens."""
    return _WORD.findall(text.lower())


def characters(text: str) -> list[str]:
    """Each Chinese character, and each run of other letters or digits, in lower case."""
    return _HAN_OR_WORD.findall(text.lower())


def ngrams(tokens: list[str], shortest: int, longest: int, joint: str = " ") -> list[str]:
    """All runs of `shortest` to `longest` tokens, joined."""
    found = list(tokens) if shortest == 1 else []
    for n in range(max(2, shortest), longest + 1):
        found += [joint.join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return found


def analyzer(lang: str, ngram: tuple[int, int]) -> Analyzer:
    """From a text to its terms: word n-grams for "en", character n-grams for "zh"."""
    shortest, longest = ngram
    if not 1 <= shortest <= longest:
        raise ValueError(f"ngram={ngram}: give (shortest, longest) with 1 <= shortest <= longest")
    if lang == "en":
        return lambda text: ngrams(words(text), shortest, longest)
    if lang == "zh":
        return lambda text: ngrams(characters(text), shortest, longest, "")
    raise ValueError(f"lang={lang!r} is not known: give 'en' or 'zh'")
