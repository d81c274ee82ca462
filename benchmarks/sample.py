"""Make sentiflow/data/sample.csv.gz, short made-up film reviews with a label: ``python -m benchmarks.sample``.

They are made by rule: a review is a shuffled run of opinions, some of them against the review's own label
and some of them negated, after neutral remarks. The label is the sign of the majority of its opinions.
"""

import csv
import gzip
import io
import random
from collections.abc import Sequence
from typing import TypeVar

from sentiflow.data.division import SAMPLE

N_TRAIN, N_TEST, SEED = 4800, 1000, 1895
MIN_WORDS, MAX_WORDS = 8, 60

# How often a clause negates a word of the other side, and how often an opinion goes against the label. Both
# blur the link between a word and the label: at zero, counting adjectives would solve the task.
NEGATED_SHARE, DISSENT_SHARE = 0.07, 0.15
WHOLE_SHARE, JOINED_SHARE, STORY_SHARE, OCCASION_SHARE = 0.6, 0.5, 0.3, 0.4

Row = tuple[str, int, str]
T = TypeVar("T")


def _entries(block: str) -> tuple[str, ...]:
    """Split a block of entries at the slashes; the order of the block is the order of the result."""
    return tuple(" ".join(entry.split()) for entry in block.split("/"))


# The order of every list below is part of the data: a change moves all later draws.
ASPECTS = _entries("""
    acting / script / plot / pacing / photography / music / dialogue / ending / direction / editing / humour /
    opening scene / lead performance / camera work / supporting cast / set design / final act / love story /
    atmosphere / middle section
""")
PRAISE = _entries("""
    good / charming / gripping / clever / moving / lovely / fresh / warm / elegant / sharp / convincing /
    delightful / graceful / lively / inventive / thrilling / touching / witty / beautiful / tender /
    memorable / rewarding / assured / imaginative / splendid / satisfying / engaging / impressive
""")
BLAME = _entries("""
    bad / dull / clumsy / boring / wooden / flat / tedious / silly / lazy / lifeless / weak / predictable /
    messy / shallow / dreary / stale / awkward / sloppy / forced / hollow / muddled / bland / tiresome /
    irritating / careless / cheap / pointless / annoying
""")
DIRECT = _entries("""
    the {aspect} was {word} / the {aspect} was {degree} {word} / the {aspect} felt {word} /
    the {aspect} seemed {degree} {word} to me / I found the {aspect} {degree} {word} /
    the {aspect} was {word} and, {aside}, {other} / the {aspect} was simply {word} /
    {word} and {other} is how I remember the {aspect} / I thought the {aspect} was {degree} {word}
""")
NEGATED = _entries("""
    the {aspect} was not {word} / the {aspect} was hardly {word} / the {aspect} was never {word} /
    the {aspect} wasn't {word} at all / I would not call the {aspect} {word} / the {aspect} was NOT {word} /
    nobody could call the {aspect} {word}
""")
DEGREES = _entries("really / rather / very / quite / surprisingly / truly / so / remarkably / pretty")
ASIDES = _entries("honestly / at times / to my surprise / in places / I must say / as my friends agreed")
AGREEING = (", and ", "; ")
OPPOSING = (", but ", ", although ", ", yet ")
FULL_STOPS = (".", ".", ".", "!")
# Opinions on the film as a whole, without an aspect.
WHOLE_PRAISE = _entries("""
    I would gladly watch it again / it stayed with me for days / the two hours flew by /
    I laughed and I cried / I have told everyone to go / I left the cinema smiling / it won me over /
    the whole audience applauded / I enjoyed every minute / it deserves a prize / it is worth the ticket
""")
WHOLE_BLAME = _entries("""
    I would never watch it again / I forgot it within an hour / the two hours dragged on /
    I left early / I have told everyone to stay away / I kept checking my watch / it lost me /
    the whole audience yawned / I regret every minute / it deserves no prize / I want the ticket refunded
""")
OCCASIONS = _entries("""
    I saw it on a {time} with {company}. / I watched this at home with {company}. /
    {company} took me to see it on a {time}. / I rented this one on a {time} (again!). /
    it was on television last week, so I watched it with {company}. /
    I had read the book before I saw the film. / has anybody else here read the book?
""")
STORIES = _entries("""
    it follows a {hero} who {quest}. / the story is about a {hero} and a {partner} in {place}. /
    it is set in {place}, where a {hero} {quest}. / a {hero} {quest} - that is the premise. /
    the film opens with a {hero} in {place}... / it runs for two hours, most of them spent in {place}.
""")
# Pairs rather than a mapping, since the remarks draw for every slot in this order.
SLOTS = tuple(
    (slot, _entries(block))
    for slot, block in (
        ("time", "rainy Sunday / Friday night / quiet Monday / cold evening / late Saturday"),
        ("company", "my sister / two friends / my parents / an old colleague / the kids / my neighbour"),
        ("hero", "retired detective / young nurse / country priest / jazz singer / lighthouse keeper"),
        ("partner", "thief / widow / stranger / journalist / runaway boy / sea captain"),
        ("place", "Lisbon / a small mining town / the desert / a snowed-in hotel / post-war Berlin"),
        ("quest", "looks for a lost brother / finds a bag of money / sees a robbery / inherits a circus"),
    )
)


def _below(rng: random.Random, bound: int) -> int:
    """Draw an integer in [0, bound) by `random()`, the one draw promised to repeat in every release."""
    return int(rng.random() * bound)


def _pick(rng: random.Random, items: Sequence[str]) -> str:
    return items[_below(rng, len(items))]


def _shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """Return the items in a drawn order (Fisher-Yates); the argument is left alone."""
    result = list(items)
    for last in range(len(result) - 1, 0, -1):
        other = _below(rng, last + 1)
        result[last], result[other] = result[other], result[last]
    return result


def _capitalised(text: str) -> str:
    """Raise the first letter only: `str.capitalize` would lower the "I" and the names further on."""
    return text[0].upper() + text[1:]


def _opinions(rng: random.Random, positive: bool) -> list[bool]:
    """Draw the signs of two to five opinions, fewer being likelier; a strict majority equals `positive`."""
    count = 2 + min(_below(rng, 4), _below(rng, 4))
    minority = (count - 1) // 2
    dissent = sum(rng.random() < DISSENT_SHARE for _ in range(minority))
    return _shuffled(rng, [positive] * (count - dissent) + [not positive] * dissent)


def _clause(rng: random.Random, positive: bool, aspect: str) -> str:
    """Phrase one opinion of the given sign on an aspect of the film, without a closing mark."""
    negated = rng.random() < NEGATED_SHARE
    frame = _pick(rng, NEGATED if negated else DIRECT)
    # A negation takes its word from the other side: "not dull" praises.
    word, other = _shuffled(rng, PRAISE if positive != negated else BLAME)[:2]
    degree, aside = _pick(rng, DEGREES), _pick(rng, ASIDES)
    return frame.format(aspect=aspect, word=word, other=other, degree=degree, aside=aside)


def _clauses(rng: random.Random, signs: Sequence[bool]) -> list[str]:
    """Phrase one clause per sign, each on another aspect so that a review does not contradict itself."""
    aspects = _shuffled(rng, ASPECTS)
    clauses = [_clause(rng, sign, aspect) for sign, aspect in zip(signs, aspects, strict=False)]
    if rng.random() < WHOLE_SHARE:
        at = _below(rng, len(signs))
        clauses[at] = _pick(rng, WHOLE_PRAISE if signs[at] else WHOLE_BLAME)
    return clauses


def _sentences(rng: random.Random, signs: Sequence[bool]) -> list[str]:
    sentences: list[str] = []
    single = False
    for index, clause in enumerate(_clauses(rng, signs)):
        if single and rng.random() < JOINED_SHARE:
            link = _pick(rng, AGREEING if signs[index] == signs[index - 1] else OPPOSING)
            sentences[-1] += link + clause
            single = False
        else:
            sentences.append(clause)
            single = True
    return [_capitalised(sentence) + _pick(rng, FULL_STOPS) for sentence in sentences]


def _remark(rng: random.Random, frames: Sequence[str]) -> str:
    """Write a neutral sentence: it carries no sign, so it only lengthens and varies the review."""
    slots = {slot: _pick(rng, entries) for slot, entries in SLOTS}
    return _capitalised(_pick(rng, frames).format(**slots))


def _review(rng: random.Random, positive: bool) -> str:
    """Write one review of the given sign; its length is not checked."""
    sentences = _sentences(rng, _opinions(rng, positive))
    # Remarks come first: behind an opinion they would lengthen what a recurrent network has to carry over.
    for share, frames in ((STORY_SHARE, STORIES), (OCCASION_SHARE, OCCASIONS)):
        if rng.random() < share:
            sentences.insert(0, _remark(rng, frames))
    return " ".join(sentences)


def sample_rows(n_train: int = N_TRAIN, n_test: int = N_TEST, seed: int = SEED) -> list[Row]:
    """Return the rows (text, label, split) of the sample, training rows first.

    The same arguments give the same rows on every supported Python. Each split is half positive and in a
    mixed order, no text occurs twice, and every text has MIN_WORDS to MAX_WORDS words between spaces.

    Raises:
        ValueError: a size is not a positive even number.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    rows: list[Row] = []
    for split, size in (("train", n_train), ("test", n_test)):
        if size <= 0 or size % 2:
            raise ValueError(f"the {split} size must be a positive even number, got {size}")
        for label in _shuffled(rng, [0, 1] * (size // 2)):
            text = _review(rng, label == 1)
            # Drawn again rather than trimmed: a cut review could lose the opinions that decide its label.
            while text in seen or not MIN_WORDS <= len(text.split()) <= MAX_WORDS:
                text = _review(rng, label == 1)
            seen.add(text)
            rows.append((text, label, split))
    return rows


def main() -> None:
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([("text", "label", "split"), *sample_rows()])
    SAMPLE.write_bytes(gzip.compress(content.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    main()
