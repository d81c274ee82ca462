"""How the baselines that are networks are trained."""

from dataclasses import asdict, dataclass

from sentiment.recipes import TrainConfig


@dataclass(frozen=True)
class Effort:
    """Settings of one baseline's training; the validation split chose them, and chooses the epoch.

    Attributes:
        batch_size: reviews a gradient step.
        learning_rate: of adam.
        epochs: at most; a recipe with fewer lowers it.
        patience: epochs without a lower validation loss before the best is restored.
        word_dropout: share of a review's words left out while training.
        dropout: share of what the layer before the score gives, likewise.
        ema_momentum: of the moving average of the weights, which is what is measured and kept.
    """

    batch_size: int
    learning_rate: float
    epochs: int
    patience: int
    word_dropout: float
    dropout: float
    ema_momentum: float


# docs/baselines.md tells which were tried. An epoch of the recurrent ones takes long, hence their few.
EFFORTS = {
    "embeddings": Effort(128, 0.001, 20, 3, 0.5, 0.3, 0.99),
    "gru": Effort(128, 0.002, 10, 2, 0.3, 0.3, 0.99),
    "lstm": Effort(128, 0.002, 10, 2, 0.3, 0.3, 0.99),
}


def parameters_of(name: str, config: TrainConfig, seed: int) -> dict[str, object]:
    """What is logged of a baseline's run: what it shares with the recipe, and settings of its own."""
    shared = ("vocabulary_size", "sequence_length", "validation_fraction")
    found = {field: getattr(config, field) for field in shared} | {"seed": seed}
    if name not in EFFORTS:
        return found
    own = asdict(EFFORTS[name]) | {"epochs": epochs(name, config), "optimizer": "adam"}
    return found | {"embedding_size": config.embedding_size} | own


def epochs(name: str, config: TrainConfig) -> int:
    """Passes over the training split at most: no more than the recipe makes itself."""
    return min(EFFORTS[name].epochs, config.epochs)
