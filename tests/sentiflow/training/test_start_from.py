"""Which networks a recipe may start from."""

from sentiflow.base import base
from sentiflow.training.recipes import load_recipe
from sentiflow.training.start_from import agree


def test_a_start_may_have_another_number_of_networks_only_where_a_rule_chooses_how_many() -> None:
    """The base has two. A table that outgrew the rule for short texts starts from its champion all the same."""
    weights = base().scorer.weights
    assert agree(load_recipe("fitted"), weights)
    assert agree(load_recipe("fitted", ["ensemble_size=2"]), weights)
    assert not agree(load_recipe("fitted", ["ensemble_size=4"]), weights)
    assert not agree(load_recipe("fitted", ["units=5"]), weights)
