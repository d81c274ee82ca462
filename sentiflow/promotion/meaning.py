"""Whether two versions mean the same by 1: by the names of their labels, and by their answers."""

from sentiflow.evaluation import ScoreTable
from sentiflow.evaluation.statistics import newcombe
from sentiflow.scoring import is_positive

Names = tuple[str, str]  # of 0 and of 1
# By which the champion answers 1 less often where the candidate does; of a bad one it may be a little less, too.
_CLEAR = 0.1


def turned(candidate: ScoreTable, champion: ScoreTable, names: tuple[Names, Names] | None) -> str:
    """What to say where the candidate means by 1 what the champion means by 0; empty where it does not.

    Both have scored the same reviews in the same order. The ``names`` decide, the candidate's first, where more of
    their parts changed places than stayed; else the answers do, whatever they are called. Names that are not
    given are the same ones.
    """
    mine, its = (is_positive(each.score) for each in (candidate, champion))
    called = f'its 1 is "{names[0][1]}", the champion\'s "{names[1][1]}"' if names else "both call 1 the same"
    if names and _changed_places(*names):
        return f"{called}: the names changed places"
    if mine.all() or not mine.any():
        return ""
    _, most = newcombe(int(its[mine].sum()), int(mine.sum()), int(its[~mine].sum()), int((~mine).sum()))
    opposite = f"{int((mine != its).sum()):,} of {len(mine):,}"
    return f"{called}: they give {opposite} reviews the opposite answers" if most < -_CLEAR else ""


def _changed_places(one: Names, other: Names) -> bool:
    (zero, first), (other_zero, other_first) = ([*map(_parts, names)] for names in (one, other))
    return len(zero & other_first) + len(first & other_zero) > len(zero & other_zero) + len(first & other_first)


def _parts(name: str) -> set[str]:
    """The names of a table that make one of an answer: ``praise or thanks``."""
    return {part.strip().casefold() for part in name.split(" or ")}
