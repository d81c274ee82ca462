"""What an experiment is: the hyper-parameters of a run, as named and frozen recipes."""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from sentiflow.console import CONSOLE, escape
from sentiflow.environment import expanded
from sentiflow.errors import UsageError, plain_reason
from sentiflow.names import BUILT_IN
from sentiflow.scoring.ngrams import LONGEST

LAST_SEED = 2**32 - 1

FITTED_FIELDS = (
    "vocabulary_size", "sequence_length", "batch_size", "epochs", "early_stopping_patience", "ema_momentum",
    "learning_rate", "embedding_weight_decay", "ensemble_size",
)  # fmt: skip
"""Fields that ``sentiflow.training.start_from`` has a rule for."""

OWN_FIELDS = (
    "vocabulary_size", "sequence_length", "batch_size", "epochs", "validation_fraction", "early_stopping_patience",
    "optimizer", "learning_rate", "learning_rate_schedule", "deterministic",
)  # fmt: skip
"""Fields that hold for a model of a user's own, too."""

_ELSEWHERE = {
    "lr": "learning_rate", "eta": "learning_rate", "hidden_size": "units", "hidden_units": "units",
    "embedding_dim": "embedding_size", "embed_dim": "embedding_size", "maxlen": "sequence_length",
    "max_len": "sequence_length", "max_length": "sequence_length", "max_features": "vocabulary_size",
    "num_words": "vocabulary_size", "max_tokens": "vocabulary_size", "patience": "early_stopping_patience",
}  # fmt: skip
"""Fields by what other libraries call them, where that is spelled quite differently."""


def check_seeds(seed: int, repeats: int) -> None:
    """Refuse a range of seeds that runs over the last."""
    if seed + repeats - 1 > LAST_SEED:
        raise UsageError(f"{repeats} seeds from {seed} on go beyond the largest, {LAST_SEED}.", "Start lower.")


def _for_a_form(schema: dict[str, Any]) -> None:
    """Keep the order of the fields, which Prefect's database forgets; an empty field is the recipe's."""
    for position, field in enumerate(schema["properties"].values()):
        field["position"] = position
        field.pop("default", None)
        if field.get("type") == "boolean":
            field["enum"] = [True, False]  # a list to choose from: a switch cannot be empty
    name = schema["properties"]["recipe"]
    own = {key: name.pop(key) for key in ("type", "minLength", "maxLength")}
    name["anyOf"] = [{"title": "Built in", "type": "string", "enum": list(RECIPES)}, {"title": "Your own", **own}]


class TrainConfig(BaseModel):
    """Hyper-parameters of one training run; every field is logged as a parameter of the run.

    The defaults are the recipe ``tutorial``: the tutorial's network and training, field by field. With the name of
    another built-in recipe, fields that are not given are its.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True,
        json_schema_extra=_for_a_form,
    )  # fmt: skip

    recipe: str = Field("tutorial", min_length=1, max_length=60)
    """tutorial, tuned, large, ngrams or fitted: fields left empty are its. Another name is of your own recipe."""
    vocabulary_size: int = Field(10_000, ge=4, le=200_000)
    """Ids kept, the 4 reserved ones included; rarer words become 2."""
    sequence_length: int = Field(500, ge=1, le=5_000)
    """Ids per review: shorter ones are padded in front, longer ones cut."""
    embedding_size: int = Field(64, ge=1, le=1_024)
    """Numbers that stand for a word."""
    units: int = Field(32, ge=1, le=1_024)
    """Size of the recurrent state."""
    optimizer: Literal["rmsprop", "adam", "sgd"] = "rmsprop"
    """How gradients become steps; sgd needs a learning_rate of 0.05 or more."""
    learning_rate: float = Field(0.001, gt=0, le=10)
    """Step size of the optimizer; 0.001 is Keras's default for rmsprop."""
    batch_size: int = Field(128, ge=1, le=25_000)
    """Reviews per gradient step."""
    epochs: int = Field(5, ge=1, le=1_000)
    """Passes over the training split."""
    validation_fraction: float = Field(0.2, gt=0, lt=1)
    """Last part of the training split, held back for validation."""
    mask_zero: bool = False
    """Leave padding out (masking)."""
    recurrent_initializer: Literal["orthogonal", "identity"] = "orthogonal"
    """What the recurrent kernel starts as; orthogonal is random, and Keras's own default."""
    recurrent_init_scale: float = Field(1.0, gt=0, le=2)
    """Factor on the recurrent kernel's first values."""
    bidirectional: bool = False
    """A second recurrence reads backwards, from the last word."""
    pooling: Literal["last", "mean", "mixed"] = "last"
    """What is scored: the last state, the mean of all, or mixed: both by turns in an ensemble."""
    ensemble_size: int = Field(1, ge=1, le=16)
    """Networks trained side by side, each in its own order; the score is their mean."""
    learning_rate_schedule: Literal["constant", "cosine"] = "constant"
    """cosine falls from learning_rate to 0 over all epochs."""
    global_clipnorm: float = Field(0.0, ge=0)
    """Limit of the norm of all gradients together; 0 for none."""
    embedding_weight_decay: float = Field(0.0, ge=0)
    """Times the learning rate, the share by which the embedding shrinks at each step."""
    vocabulary_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the vocabulary left out of a training batch."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the recurrence's output that is dropped while training."""
    ema_momentum: float = Field(0.0, ge=0, lt=1)
    """Keep the moving average of the weights, with this momentum; 0 for none."""
    early_stopping_patience: int = Field(0, ge=0)
    """Epochs without a lower validation loss before the best is restored; 0 keeps the last."""
    final_training: bool = False
    """Train the chosen number of epochs once more, on the validation part, too."""
    fit_to_table: tuple[str, ...] = ()
    """Fields that rules choose by the reviews' number and lengths, and by what a training starts from."""
    ngrams: int = Field(0, ge=0, le=LONGEST)
    """Words of the longest n-gram that a linear model beside the network reads; 0 for none."""
    backend: Literal["numba", "keras"] = "numba"
    """What trains: compiled kernels, or Keras's own layers, many times slower, to compare with."""
    deterministic: bool = True
    """The same weights from the same seed, bit for bit, however threads are scheduled."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        name = given.get("recipe") if isinstance(given, Mapping) else None
        if name in RECIPES:
            left = tuple(field for field in RECIPES[name].fit_to_table if field not in given)  # what is set holds
            return {**RECIPES[name].model_dump(), "fit_to_table": left, **given}
        if name is not None and len(given) == 1:
            raise ValueError(
                f"no recipe is named {name!r}; there are {', '.join(RECIPES)}; your own sets other fields, too"
            )
        return given

    @field_validator("fit_to_table", mode="before")
    @classmethod
    def _split(cls, names: Any) -> Any:
        """A text of names, as a parameter of a run holds them."""
        return re.findall(r"\w+", names) if isinstance(names, str) else names

    @field_validator("fit_to_table")
    @classmethod
    def _have_rules(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name not in FITTED_FIELDS]:
            raise ValueError(f"{unknown[0]!r} has no rule; there are rules for: {', '.join(FITTED_FIELDS)}")
        return names

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.backend == "keras" and (self.vocabulary_dropout or self.dropout or self.global_clipnorm):
            raise ValueError("backend = 'keras' has no vocabulary_dropout, dropout, global_clipnorm: set them 0")
        if self.backend == "keras" and self.ensemble_size > 1:
            raise ValueError("backend = 'keras' would train an ensemble as one network: set ensemble_size to 1")
        if (self.bidirectional or self.pooling != "last") and not self.mask_zero:
            raise ValueError("bidirectional and a pooling that averages are of words alone: set mask_zero to true")
        if self.pooling == "mixed" and self.ensemble_size == 1:
            raise ValueError("pooling = 'mixed' takes turns between members: set ensemble_size to 2 or more")
        return self

    def changes(self) -> dict[str, Any]:
        """What differs from the recipe of this name, else from the most similar; what rules choose is left out."""
        mine = self.model_dump(exclude={"recipe", "fit_to_table", *self.fit_to_table})
        bases = [RECIPES[self.recipe]] if self.recipe in RECIPES else RECIPES.values()
        changed = [
            {key: value for key, value in mine.items() if value != getattr(base, key) or key in base.fit_to_table}
            for base in bases
        ]
        return min(changed, key=len)

    def short(self) -> dict[str, Any]:
        """The name and what differs, where that makes the same recipe again; else all fields."""
        made = {"recipe": self.recipe, **self.changes()}
        return made if self.recipe in RECIPES and TrainConfig(**made) == self else self.model_dump(mode="json")


RECIPES: dict[str, TrainConfig] = {}

TUTORIAL = TrainConfig()

# Chosen on the validation split alone: docs/recipes.md. The network has as many parameters as the tutorial's.
TUNED = TrainConfig(
    recipe="tuned",
    mask_zero=True,  # no padding between the first state and the first word
    recurrent_initializer="identity",  # a state that is kept unless a word changes it: long memory from the start
    recurrent_init_scale=0.95,  # and slowly forgotten
    optimizer="adam",
    learning_rate=0.0005,  # at twice the rate the long memory is lost again
    learning_rate_schedule="cosine",
    global_clipnorm=1.0,  # 500 steps now and then make a gradient explode
    embedding_weight_decay=2.0,  # a rare word's embedding shrinks, and is not learnt by heart
    vocabulary_dropout=0.5,  # no single word may carry a review
    dropout=0.3,
    ema_momentum=0.999,  # the average over about three epochs
    batch_size=64,
    epochs=16,
    early_stopping_patience=4,
)

# Chosen in the same way (docs/tuned.md): as tuned, except for these fields.
LARGE = TUNED.model_copy(
    update={
        "recipe": "large",
        "ensemble_size": 4,  # what one of them learns by chance, the others do not
        "bidirectional": True,  # what follows a word says as much about it as what stands before
        "pooling": "mixed",  # of the last state and the mean, each is wrong about other reviews
        "learning_rate": 0.0007,  # between what a long memory bears and what the mean likes
        "ema_momentum": 0.998,  # the average over about an epoch and a half: there are fewer epochs
        "epochs": 9,
        "global_clipnorm": 2.0,  # of four members together: each alone would have 1
        "validation_fraction": 0.1,  # 2,500 reviews are enough to choose an epoch by; the others teach
    }
)

# The network of tuned beside the baseline: docs/recipes.md.
NGRAMS = TUNED.model_copy(update={"recipe": "ngrams", "ngrams": LONGEST})

# Chosen on tables of other people (docs/own-tables.md); the fields with a rule get other values at each training.
FITTED = LARGE.model_copy(
    update={
        "recipe": "fitted",
        "validation_fraction": 0.2,  # of a small table a tenth is too little to choose an epoch by
        "final_training": True,  # then, what chose it teaches, too
        "vocabulary_dropout": 0.1,  # a short text has few words to tell it by
        "ngrams": LONGEST,  # left out of a training whose validation reviews do not want them
        "fit_to_table": FITTED_FIELDS,
    }
)

RECIPES |= {recipe.recipe: recipe for recipe in (TUTORIAL, TUNED, LARGE, NGRAMS, FITTED)}


def default_recipe(dataset: str) -> str:
    """The name of the recipe that a dataset is trained with unless another is asked for."""
    return "ngrams" if dataset in BUILT_IN else "fitted"


def load_recipe(name_or_file: str = "tutorial", overrides: Sequence[str] = ()) -> TrainConfig:
    """Find a recipe by name, or in a TOML file of what differs from ``tutorial``; then apply overrides."""
    return make_recipe(_read_fields(name_or_file), overrides, name_or_file)


def make_recipe(fields: Mapping[str, Any], overrides: Sequence[str], name: str) -> TrainConfig:
    """Make a recipe of fields and ``key=value`` overrides; the name is for messages."""
    changes = split_changes(overrides)
    try:
        made = TrainConfig(**{**fields, **changes})
    except ValidationError as err:
        found, hints = zip(*map(_problem, err.errors()), strict=True)
        raise UsageError(f"Recipe {name!r}: {'; '.join(found)}.", "\n".join(dict.fromkeys(hints))) from None
    if "fit_to_table" in changes:
        return made
    left = tuple(name for name in made.fit_to_table if name not in changes)  # what is set holds
    return made.model_copy(update={"fit_to_table": left})


def own_recipe(function: str, dataset: str, overrides: Mapping[str, Any]) -> TrainConfig:
    """How a model that a function of the user's builds is trained: as the dataset's recipe says, where it can."""
    if unknown := [name for name in overrides if name not in OWN_FIELDS]:
        problem = f"{unknown[0]} is no field of a model that a function builds."
        raise UsageError(problem, f"Set it in the function. Fields: {', '.join(OWN_FIELDS)}.")
    base = RECIPES[default_recipe(dataset)]
    fields = base.model_dump(include={*OWN_FIELDS})
    fields["fit_to_table"] = tuple(name for name in base.fit_to_table if name in OWN_FIELDS)
    name = f"own-{re.sub(r'[^a-z0-9]+', '-', function.lower()).strip('-')}"[:40]
    changes = [f"{key}={value}" for key, value in overrides.items()]
    return make_recipe({"recipe": name, "backend": "keras", **fields}, changes, name)


def nearest_field(name: str) -> str | None:
    """The field that is probably meant."""
    near = difflib.get_close_matches(name, [*TrainConfig.model_fields, *_ELSEWHERE], n=1)
    return _ELSEWHERE.get(near[0], near[0]) if near else None


def split_changes(overrides: Sequence[str]) -> dict[str, str]:
    changes: dict[str, str] = {}
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            raise UsageError(f"--set expects key=value, got {override!r}.", "For example: --set epochs=3")
        key, value = key.strip(), value.strip()
        if changes.get(key, value) != value:
            line = f"--set gives {key} more than once: the last one counts, {value}, instead of {changes[key]}."
            CONSOLE.say(f"[yellow]{escape(line)}[/]")
        changes[key] = value
    return changes


def _read_fields(name_or_file: str) -> dict[str, Any]:
    if name_or_file in RECIPES:
        return RECIPES[name_or_file].model_dump()
    path = Path(name_or_file)
    if path.suffix != ".toml":
        near = difflib.get_close_matches(name_or_file.lower(), RECIPES, n=1)
        raise UsageError(
            f"No recipe is named {name_or_file!r}; there are: {', '.join(sorted(RECIPES))}.",
            f"Did you mean {near[0]}?" if near else "A recipe of your own is a TOML file: --recipe my-recipe.toml",
        )
    fields = read_toml(path, "recipe")
    if "recipe" not in fields and path.stem in RECIPES:
        hint = f"Rename it or add recipe = ..., or change the built-in one: --recipe {path.stem} --set FIELD=VALUE"
        raise UsageError(f"{path} has the name of a built-in recipe: {path.stem}.", hint)
    return {"recipe": path.stem, **fields}


def read_toml(path: Path, what: str) -> dict[str, Any]:
    try:
        return tomllib.loads(expanded(path).read_text(encoding="utf-8"))
    except OSError as err:
        hint = "Check its path and permissions."
        raise UsageError(f"Cannot read the {what} {path}: {err.strerror}.", hint) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        problem = f"The {what} {path} is not valid TOML: {err}."
        raise UsageError(problem, "A line is FIELD = VALUE, with text in quotes.") from err


def _problem(found: ErrorDetails) -> tuple[str, str]:
    field = str(found["loc"][0]) if found["loc"] else ""
    if not found["loc"]:
        return str(found["ctx"]["error"]), "Change one of the fields."
    if found["type"] != "extra_forbidden":
        why = plain_reason(found["msg"]).partition(", unable to parse")[0]
        hint = f"{field}: {TrainConfig.model_fields[field].description}"
        if found["type"].endswith("_parsing") and "," in found["input"]:
            choices = f"[{field}] choices = [{found['input']}]"
            hint += f"\nTo try several: sentiflow sweep --space FILE, with {choices} in it"
        return f"{field} = {found['input']!r} is not allowed: {why}", hint
    if field == "seed":
        return "the seed is not a field of a recipe", f"Use --seed {found['input']}"
    if re.search("lstm|gru|rnn|cell|layer|transformer", f"{field} {found['input']}", re.IGNORECASE):
        return f"unknown field {field!r}", "A recipe's cell is a SimpleRNN. Others: docs/python.md."
    near = nearest_field(field)
    there = f"Did you mean {near}?" if near else f"Fields: {', '.join(TrainConfig.model_fields)}."
    return f"unknown field {field!r}", there
