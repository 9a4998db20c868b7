"""What a sentence says of its findings: side, lobe, size, number, enhancement; and which images it
names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from veridical.language import vocabulary as words

UNIT = r"(?P<unit>mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?)\b"
NUMBER = r"\d+(?:[.,]\d+)?"
SIZE = re.compile(
    rf"(?P<first>{NUMBER}|{'|'.join(words.NUMBERS)})"
    rf"(?P<more>(?:\s*(?:x|×|by)\s*{NUMBER})*)(?P<range>\s*(?:-|to)\s*{NUMBER})?[\s-]*{UNIT}"
)
"""`2 cm`, `2.3 x 1.8 x 2 cm`, `20-25 mm`, `two cm`."""
COUNT = re.compile(
    rf"(?<![\w.,-])(?P<number>\d{{1,3}}|{'|'.join(words.NUMBERS)})(?![\w.]|-year|\s*[.,x×%]?\s*\d|\s*-?\s*(?:mm|cm|ml|"
    r"years?|year|millimet|centimet|tesla|t\b|/))"
)
CAPTION = re.compile(r"\s*(?:hyper|hypo|signal|bright|dark|iso|lesion|foc|shorten|prolong|enhanc)")
"""After the name of a contrast it tells how something looks, and names no image."""


@dataclass(frozen=True)
class Said:
    """A word about a finding: the field of `Fact` that it fills, and with what."""

    name: str
    value: Any
    start: int
    end: int


def attributes(sentence: str, taken: Sequence[tuple[int, int]]) -> Iterator[Said]:
    """Yield all that a sentence says of findings.

    Args:
        sentence: lower case.
        taken: where findings are named; words in there say nothing else.
    """
    used = list(taken)
    for one in (*_sizes(sentence), *_words(sentence)):
        if not any(one.start < b and a < one.end for a, b in used):
            used.append((one.start, one.end))
            yield one


def contrasts(text: str) -> tuple[str, ...]:
    """Return the images that a text names, each once, in its order."""
    names, table = words.pattern(words.table(words.CONTRASTS)), _plain(words.CONTRASTS)
    found = [
        table[_key(match[0])]
        for match in names.finditer(text)
        if not CAPTION.match(text, match.end())
    ]
    return tuple(dict.fromkeys(found))


def _sizes(sentence: str) -> Iterator[Said]:
    for match in SIZE.finditer(sentence):
        scale = 10.0 if match["unit"].startswith("c") else 1.0
        first = words.NUMBERS.get(match["first"])
        values = [float(first) if first else _number(match["first"])]
        values += [_number(one) for one in re.findall(NUMBER, match["more"])]
        size = max(values)
        if match["range"]:
            size = (size + _number(re.findall(NUMBER, match["range"])[0])) / 2
        if size > 0:
            yield Said("size", round(scale * size, 3), match.start(), match.end())


def _words(sentence: str) -> Iterator[Said]:
    """Yield denied enhancement first, since `without enhancement` holds `enhancement`."""
    tables: tuple[tuple[str, Mapping[str, Sequence[str]], Mapping[str, Any]], ...] = (
        ("enhances", {"no": words.ENHANCES["no"]}, {"no": False}),
        ("enhances", {"yes": words.ENHANCES["yes"]}, {"yes": True}),
        ("lobe", words.LOBES, {}),
        ("side", words.SIDES, {}),
        ("size_class", words.SIZE_CLASSES, {}),
    )
    for name, phrases, values in tables:
        table = _plain(phrases)
        for match in words.pattern(words.table(phrases)).finditer(sentence):
            value = table[_key(match[0])]
            yield Said(name, values.get(value, value), match.start(), match.end())
    for match in COUNT.finditer(sentence):
        number = words.NUMBERS.get(match["number"]) or int(match["number"])
        if number:
            yield Said("count", number, match.start(), match.end())
    table = _plain(words.COUNTS)
    for match in _counts().finditer(sentence):
        yield Said("count_class", table[_key(match[0])], match.start(), match.end())


@cache
def _counts() -> re.Pattern[str]:
    return words.pattern(words.table(words.COUNTS))


def _plain(phrases: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {_key(phrase): value for phrase, value in words.table(phrases).items()}


def _key(phrase: str) -> str:
    return re.sub(r"[\s-]+", " ", phrase)


def _number(text: str) -> float:
    return float(text.replace(",", "."))
