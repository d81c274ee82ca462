"""The champion in use: a thread checks the registry, loads a new one, and swaps one reference."""

import logging
import threading
import time
from dataclasses import dataclass

import numpy as np
from fastapi import HTTPException

from sentiflow.errors import ExternalError, first_line
from sentiflow.names import dataset_of
from sentiflow.scoring import TextScorer
from sentiflow.serving.metrics import Metrics
from sentiflow.serving.middleware import SOON
from sentiflow.settings import Settings
from sentiflow.store.find import Champion, find_champion, load_scorer, open_store
from sentiflow.store.records import ANSWERS_NOW

logger = logging.getLogger(__name__)

_TEST_TEXT = "A quiet film that stays with you, although the ending was a mess."
_RETRY_SECONDS = 5.0  # between two attempts to load files that cannot be loaded


@dataclass(frozen=True)
class Loaded:
    """A champion, ready to score."""

    champion: Champion
    scorer: TextScorer


@dataclass(frozen=True)
class State:
    """State of the service at one moment, replaced as a whole."""

    loaded: Loaded | None  # the version that answers; None when none does
    problem: str  # message for clients; empty when all is well


class Watcher:
    """Checks which version is the champion; ``checked`` is set once what the registry names was loaded."""

    def __init__(self, settings: Settings, name: str | None, metrics: Metrics) -> None:
        self.state = State(None, "The service has not checked the registry yet.")
        self.checked = threading.Event()
        self._settings, self._name, self._metrics = settings, name, metrics
        self._seen = False
        self._broken: Champion | None = None
        self._retry_at = 0.0
        self._stopped = threading.Event()
        # A daemon: a registry that does not answer must not delay the end of the process.
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    @property
    def loaded(self) -> Loaded:
        """The version that answers now; 503 if there is none."""
        state = self.state
        if state.loaded is None:
            raise HTTPException(503, state.problem, SOON)
        return state.loaded

    def find(self) -> Champion | None:
        """Find the champion, which may take seconds; None when no version is in use."""
        champion = find_champion(self._settings, self._name)
        if champion is None and self._seen and open_store(self._settings).model(self._name or "") is None:
            raise ExternalError(f"{self._name} is gone from the registry.", "Restore it, or restart the service.")
        if champion is not None:
            self._seen, self._name = True, champion.version.name  # whatever else is registered meanwhile
        return champion

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Check no more; a check under way may still end, or end with the process."""
        self._stopped.set()
        self._thread.join(1)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._check()
            except Exception:  # such as metrics that cannot be written
                logger.exception("A check of the registry failed")
            self._stopped.wait(self._settings.serve_poll)

    def _check(self) -> None:
        """Check once; whatever fails, the version that answers stays."""
        try:
            found = self.find()
        except Exception as err:  # noqa: BLE001 - a registry can fail in any way, and the service must outlive it
            self._fail("find", "The registry cannot be read", err)
            return
        loaded = self.state.loaded
        if found is None:
            self._broken = None
            dataset = f" --dataset {dataset_of(self._name)}" if self._name else ""
            absent = (
                f"No version of {self._name or 'the model'} is in use yet. "
                f"Put one in use: sentiflow promote{dataset} (after sentiflow train, if there is none)."
                + ("" if self._name else f" {ANSWERS_NOW}")
            )
            self._set(State(None, absent), absent)
            self.checked.set()
        elif loaded is not None and found == loaded.champion:
            self._broken = None
            self._set(State(loaded, ""), f"{found.version} answers, all is well again.")
        elif found != self._broken or time.monotonic() >= self._retry_at:
            self._load(found)

    def _load(self, found: Champion) -> None:
        try:
            loaded = _load(found, self._settings)
        except Exception as err:  # noqa: BLE001 - files can be broken in any way, and the service must outlive it
            self._broken, self._retry_at = found, time.monotonic() + _RETRY_SECONDS
            self._fail("load", f"{found.version} is the champion, but cannot be loaded", err)
            return
        self._broken = None
        self._metrics.loads.inc()
        self._set(State(loaded, ""), f"{found.version} answers from now on.")
        self.checked.set()

    def _fail(self, stage: str, problem: str, err: Exception) -> None:
        """Keep the version that answers; the reason, which may name paths, goes to the log alone."""
        self._metrics.failures.labels(stage).inc()
        loaded = self.state.loaded
        rest = f"version {loaded.champion.version.number} goes on answering" if loaded else "see the service's log"
        self._set(State(loaded, f"{problem}; {rest}."), f"{problem}: {first_line(err)}")

    def _set(self, state: State, message: str) -> None:
        """Replace the state, and log the message if it has changed."""
        if state != self.state:
            logger.log(logging.WARNING if state.problem else logging.INFO, "%s", message)
            self.state = state
            if state.loaded is None:
                self._metrics.show_model(None)
            else:
                self._metrics.show_model(state.loaded.champion.version, state.loaded.scorer.label_names)


def _load(champion: Champion, settings: Settings) -> Loaded:
    """Load a champion, and score and explain a text, so that no request is the first; may raise anything."""
    scorer = load_scorer(settings, champion.version)
    (score,) = scorer.score([_TEST_TEXT], threads=1)
    explained = scorer.explain(_TEST_TEXT).score if scorer.explains else score
    if not 0 <= score <= 1 or not np.isclose(score, explained, rtol=0, atol=1e-9):
        raise ValueError(f"a text scores {score}, and {explained} word by word")
    return Loaded(champion, scorer)
