"""Whether two versions mean the same by 1: by the names of their labels, and by their answers."""

from sentiflow.evaluation.scores import ScoreTable
from sentiflow.evaluation.statistics import newcombe
from sentiflow.scoring import is_positive

Names = tuple[str, str]  # of 0 and of 1
# By which the champion answers 1 less often to reviews of label 1 than to the others. A bad one may be a little
# below guessing, and means the same.
_CLEAR = 0.1


def turned(candidate: ScoreTable, champion: ScoreTable, names: tuple[Names, Names] | None) -> str:
    """What to say where the candidate means by 1 what the champion means by 0; empty where it does not.

    Both have scored the same reviews in the same order, whose labels mean what the candidate's do. The ``names``
    decide, the candidate's first, where more of their parts changed places than stayed; else the champion's
    answers do, whatever the names are. Names that are not given are the same ones.
    """
    called = f'its 1 is "{names[0][1]}", the champion\'s "{names[1][1]}"' if names else "both call 1 the same"
    if names and _changed_places(*names):
        return f"{called}: the names changed places"
    answers, ones = is_positive(champion.score), candidate.label == 1
    if ones.all() or not ones.any():
        return ""
    _, most = newcombe(int(answers[ones].sum()), int(ones.sum()), int(answers[~ones].sum()), int((~ones).sum()))
    if most >= -_CLEAR:
        return ""
    opposite, right = int((answers != is_positive(candidate.score)).sum()), int(champion.right.sum())
    told = f"they answer {opposite:,} of {len(ones):,} reviews the opposite way"
    return f"{called}: {told}, and the champion has {right:,} right"


def _changed_places(one: Names, other: Names) -> bool:
    (zero, first), (other_zero, other_first) = ([*map(_parts, names)] for names in (one, other))
    return len(zero & other_first) + len(first & other_zero) > len(zero & other_zero) + len(first & other_first)


def _parts(name: str) -> set[str]:
    """The names of a table that make one of an answer: ``praise or thanks``."""
    return {part.strip().casefold() for part in name.split(" or ")}
