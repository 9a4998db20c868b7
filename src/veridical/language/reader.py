"""Read a report: facts out of free text, by rules, and what was not understood said as such.

Negation and its reach follow NegEx (Chapman et al., J Biomed Inform 2001, 10.1006/jbin.2001.1029).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from veridical.language import vocabulary as words
from veridical.language.attributes import Said, attributes, contrasts
from veridical.language.fact import Fact, ReadReport

FAR, DENIED = 40, 60
"""Letters that a boundary counts as, and a finding that is denied, where words look for the finding
that they are about.
"""
BREAK = re.compile(r"(?<!\d)[.!](?!\d)|(?<=\d)\.(?=\s|$)|[;\n]+|\.(?=\s+[a-z])")
FRESH = re.compile(r"(?:,|\band\b)\s+(?:with\s+)?(?:an?|the|there|\d|multiple|single|one)\b")
VERB = re.compile(r"\b(?:is|are|was|shows?|has|have|lies|measures|there|contains|with|in)\b")
COMMA = re.compile(r"[,:]|\band\b")
BACKWARD = (
    "cannot be excluded", "can not be excluded", "cannot be ruled out", "not excluded",
    "not ruled out", "suspected", "questionable", "uncertain", "equivocal", "?", "possible",
"likely", )  # fmt: skip
"""Doubts that may stand after what they are about."""


@dataclass
class Mention:
    """A finding in a sentence: its kind, or the word of one that is not known here."""

    kind: str
    start: int
    end: int
    known: bool
    present: bool = True
    certain: bool = True
    said: dict[str, Any] = field(default_factory=dict)


def read_report(text: str) -> ReadReport:
    """Return the facts of a report, the images that it names, and what was not understood.

    Args:
        text: free text, English, any length.
    """
    facts: list[Fact] = []
    unread: list[str] = []
    unknown: list[str] = []
    plain = text.lower().replace("–", "-").replace("’", "'")
    for start, sentence in sentences(plain):
        mentions = _mentions(sentence)
        _deny(sentence, mentions)
        found = list(attributes(sentence, [(m.start, m.end) for m in mentions]))
        loose = _attach(sentence, mentions, found)
        made = _facts(mentions, facts)
        if not any(m.known for m in mentions):
            loose = _about_last(loose, facts)
            unread += _nameless(text, start, sentence, facts) if not mentions else []
        unread += [text[start + one.start : start + one.end] for one in loose]
        facts += made
        unknown += [m.kind for m in mentions if not m.known and m.present]
        unread += [text[start + a : start + b] for a, b in _rest(sentence, mentions, found)]
    return ReadReport(
        tuple(facts), contrasts(plain), tuple(dict.fromkeys(unread)), tuple(dict.fromkeys(unknown))
    )


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the sentences of a text with their places."""
    start = 0
    for match in [*BREAK.finditer(text), None]:
        end = len(text) if match is None else match.start()
        if text[start:end].strip():
            yield start, text[start:end]
        if match is not None:
            start = match.end()


@cache
def _findings() -> tuple[re.Pattern[str], dict[str, str]]:
    known = words.table(words.KINDS)
    return words.pattern([*known, *words.UNKNOWN]), known


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return words.pattern(getattr(words, name))


def _mentions(sentence: str) -> list[Mention]:
    pattern, known = _findings()
    found = []
    for match in pattern.finditer(sentence):
        said = re.sub(r"[\s-]+", " ", match[0])
        kind = next((k for phrase, k in known.items() if phrase.replace("-", " ") == said), "")
        one = Mention(kind or said, match.start(), match.end(), bool(kind))
        if kind == "tumour" and "enhancing" in said:
            one.said["enhances"] = said.startswith("enhancing")
        found.append(one)
    return found


def _deny(sentence: str, mentions: list[Mention]) -> None:
    """Note which mentions are denied and which are doubted."""
    blank = _pattern("PSEUDO").sub(lambda m: "_" * len(m[0]), sentence)
    no = words.pattern(words.ENHANCES["no"])
    blank = no.sub(lambda m: "_" * len(m[0]), blank)
    for trigger in _pattern("BEFORE").finditer(blank):
        for one in mentions:
            between = sentence[trigger.end() : one.start]
            if one.start >= trigger.end() and not _ended(between):
                one.present = False
    for trigger in _pattern("AFTER").finditer(blank):
        end = trigger.start()
        for one in reversed(mentions):
            if one.end <= end:
                if VERB.search(sentence[one.end : end]) or _ended(sentence[one.end : end]):
                    break
                one.present, end = False, one.start
    for trigger in _doubts().finditer(sentence):
        for one in mentions:
            ahead = one.start >= trigger.end()
            behind = one.end <= trigger.start() and trigger[0] in BACKWARD
            if (ahead or behind) and not _turned(sentence, trigger, one, mentions):
                one.certain = False


def _turned(sentence: str, trigger: re.Match[str], one: Mention, mentions: list[Mention]) -> bool:
    """Say whether something else begins between a doubt and a mention: another finding before a
    comma, or a contrast.
    """
    low, high = sorted([trigger.span(), (one.start, one.end)])
    between = sentence[low[1] : high[0]]
    another = any(low[1] <= m.start and m.end <= high[0] for m in mentions)
    turn = re.search(r"\b(?:but|however|although|though|which|whereas|while)\b", between)
    return turn is not None or (another and bool(COMMA.search(between)))


@cache
def _doubts() -> re.Pattern[str]:
    named = words.pattern([word for word in words.DOUBTS if word != "?"])
    return re.compile(named.pattern + r"|\?")


def _ended(between: str) -> bool:
    """Say whether the reach of a negation ends in a piece of text."""
    return bool(_pattern("ENDS").search(between) or FRESH.search(between))


def _attach(sentence: str, mentions: list[Mention], found: list[Said]) -> list[Said]:
    """Give every attribute to the mention that it is about; return those that are about none."""
    hosts = [m for m in mentions if m.kind not in words.SATELLITES]
    satellites = [m for m in mentions if m.kind in words.SATELLITES]
    if not any(m.present or not satellites for m in hosts):
        hosts, satellites = mentions, []
    loose = []
    for one in sorted(
        found, key=lambda said: min((_far(sentence, said, m) for m in hosts), default=0)
    ):
        if not hosts:
            loose.append(one)
            continue
        nearest = min(hosts, key=lambda m: _far(sentence, one, m))
        if _taken(nearest, one):
            continue
        other = next((m for m in satellites if m.end <= one.start and m.present), None)
        if other is None or not _taken(other, one):
            loose.append(one)
    for other in (m for m in satellites if "side" in m.said):
        after = [one for one in found if one.name == "lobe" and one.start > other.end]
        if after:
            other.said["lobe"] = after[0].value
    return loose


def _taken(mention: Mention, one: Said) -> bool:
    """Give an attribute to a mention, unless it has another of that name; say whether it was."""
    before = mention.said.get(one.name)
    if before is not None and before != one.value:
        if one.name != "side" or mention.kind == "tumour":
            return False
        mention.said["side"] = "both"
        return True
    mention.said[one.name] = one.value
    return True


def _far(sentence: str, one: Said, mention: Mention) -> float:
    """Return how far an attribute is from a mention, in letters."""
    if one.name == "count" and one.start > mention.end:
        return 1000.0
    low, high = sorted((one.start, mention.start))
    between = sentence[(one.end if one.start == low else mention.end) : high]
    breaks = len(COMMA.findall(between)) + 3 * len(_pattern("ENDS").findall(between))
    return max(len(between), 0) + FAR * breaks + (0 if mention.present else DENIED)


def _facts(mentions: list[Mention], before: list[Fact]) -> list[Fact]:
    """Return the facts of a sentence: what is named twice is one, and oedema lies where its tumour
    lies.
    """
    made: list[Fact] = []
    for mention in (m for m in mentions if m.known):
        fields = {name: value for name, value in mention.said.items() if _fits(mention.kind, name)}
        fact = Fact(mention.kind, mention.present, mention.certain, **fields)  # type: ignore[arg-type]
        same = next((k for k, one in enumerate(made) if _same(one, fact)), None)
        if same is None:
            made.append(fact)
        else:
            made[same] = _joined(made[same], fact)
    tumours = [one for one in (*before, *made) if one.kind == "tumour" and one.present]
    if tumours:
        home = tumours[-1]
        made = [
            replace(one, side=home.side, lobe=home.lobe)
            if one.kind in words.SATELLITES and not one.side and not one.lobe
            else one
            for one in made
        ]
    return made


def _fits(kind: str, name: str) -> bool:
    """Say whether a fact of a kind holds an attribute."""
    if name in ("side", "lobe"):
        return kind != "atrophy"
    if name in ("size", "size_class"):
        return kind in ("tumour", "infarct")
    if name == "enhances":
        return kind == "tumour"
    return kind in ("tumour", "infarct", "white matter lesions")


def _same(one: Fact, other: Fact) -> bool:
    """Say whether a second mention is the first again: it says nothing of its own that differs."""
    if one.kind != other.kind or one.present != other.present:
        return False
    return all(
        not getattr(one, name)
        or not getattr(other, name)
        or getattr(one, name) == getattr(other, name)
        for name in ("side", "lobe", "size")
    )


def _joined(one: Fact, other: Fact) -> Fact:
    said = {
        name: getattr(other, name)
        for name in ("side", "lobe", "size", "enhances", "count", "size_class", "count_class")
        if getattr(one, name) in (None, "")
    }
    return replace(one, certain=one.certain or other.certain, **said)


def _about_last(loose: list[Said], facts: list[Fact]) -> list[Said]:
    """Give attributes of a sentence without a finding, `It measures 2 cm`, to the last one that is
    there; return what fits none.
    """
    places = [
        k for k, fact in enumerate(facts) if fact.present and fact.kind not in words.SATELLITES
    ]
    left = []
    for one in loose:
        fact = facts[places[-1]] if places else None
        if fact is not None and _fits(fact.kind, one.name):
            if getattr(fact, one.name) in (None, ""):
                facts[places[-1]] = replace(fact, **{one.name: one.value})
                continue
            if getattr(fact, one.name) == one.value:
                continue
        if one.name == "enhances" and one.value is False:
            continue  # `No abnormal enhancement` of a head without a mass denies what is not there
        left.append(one)
    return left


def _nameless(text: str, start: int, sentence: str, facts: list[Fact]) -> list[str]:
    """Return the words for a lesion of which neither sentence nor one before it says the kind."""
    if any(fact.present for fact in facts):
        return []
    return [
        text[start + match.start() : start + match.end()]
        for match in re.finditer(r"\b(?:lesions?|abnormalit(?:y|ies)|foc(?:us|i))\b", sentence)
        if not _pattern("BEFORE").search(sentence)
    ]


def _rest(sentence: str, mentions: list[Mention], found: list[Said]) -> Iterator[tuple[int, int]]:
    """Yield where words stand that nothing here knows, those side by side as one."""
    covered = [(m.start, m.end) for m in mentions] + [(one.start, one.end) for one in found]
    for name in ("BEFORE", "AFTER", "PSEUDO", "ENDS"):
        covered += [match.span() for match in _pattern(name).finditer(sentence)]
    covered += [match.span() for match in _doubts().finditer(sentence)]
    covered += [match.span() for match in _images().finditer(sentence)]
    run: tuple[int, int] | None = None
    for match in re.finditer(r"[^\s,:()]+", sentence):
        inside = any(a <= match.start() and match.end() <= b + 1 for a, b in covered)
        word = match[0].strip(".'\"")
        if inside or not word or word in words.FILLERS or not re.search(r"[a-z0-9]", word):
            if run:
                yield run
            run = None
        else:
            run = (run[0] if run else match.start(), match.end())
    if run:
        yield run


@cache
def _images() -> re.Pattern[str]:
    return words.pattern(words.table(words.CONTRASTS))
