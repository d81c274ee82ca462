"""Measure from how many complete trials on the importance of fields is right.

    python -m benchmarks.importance [--searches 30]

A search of the default space's fields by TPE, as a sweep has it, of a made loss: the learning rate matters most,
dropout less, the recurrent gain a little, and there is noise. Printed is how often fANOVA puts the learning rate
first.
"""

import argparse

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.samplers import TPESampler
from optuna.trial import Trial

from benchmarks import machine
from sentiflow.sweeps.space import load_space
from sentiflow.training.recipes import TUNED

COUNTS = (2, 4, 6, 8, 10, 12, 16, 20, 30)
NOISE = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.importance", description=__doc__)
    parser.add_argument("--searches", type=int, default=30)
    searches = parser.parse_args().searches
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for count in COUNTS:
        right = sum(first(seed, count) == "learning_rate" for seed in range(searches))
        machine.log(f"{count:>3} complete trials: first in {right} of {searches}")


def first(seed: int, count: int) -> str:
    """The field that is said to matter most."""
    space, rng = load_space(None, TUNED).fields, np.random.default_rng(seed)
    study = optuna.create_study(sampler=TPESampler(seed=seed))
    for _ in range(count):
        asked = study.ask(space)
        study.tell(asked, loss(asked, rng))
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return max(shares, key=lambda name: shares[name])


def loss(asked: Trial, rng: np.random.Generator) -> float:
    rate = np.log(asked.params["learning_rate"] / 6e-4)
    dropout = (asked.params["dropout"] - 0.3) / 0.3
    forgets = asked.params["recurrent_init_scale"] < 0.9
    return float(0.3 + 0.05 * rate**2 + 0.02 * dropout**2 + 0.005 * forgets + rng.normal(0, NOISE))


if __name__ == "__main__":
    main()
