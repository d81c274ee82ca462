"""The champion, followed: a thread looks for a new one, loads it, and swaps one reference."""

import logging
import threading
import time
from dataclasses import dataclass

from sentiflow.serving.service.metrics import Metrics
from sentiflow.serving.service.schemas import Champion, Loaded, Source, load

logger = logging.getLogger(__name__)

_LONGEST = 60.0  # seconds between two attempts at files that cannot be loaded


@dataclass(frozen=True)
class State:
    """What there is at one moment, replaced as a whole.

    Attributes:
        loaded: who answers; None when nobody does.
        problem: what is the matter, for whoever asks; empty when nothing is.
    """

    loaded: Loaded | None
    problem: str


class Watcher:
    """Looks at the registry every some seconds; requests read ``state`` once and keep what they read.

    Attributes:
        state: who answers now.
        looked: set after the first look.
    """

    def __init__(self, source: Source, seconds: float, metrics: Metrics) -> None:
        self.state = State(None, "The service has not looked at the registry yet.")
        self.looked = threading.Event()
        self._source, self._seconds, self._metrics = source, seconds, metrics
        self._broken: Champion | None = None
        self._failures, self._again = 0, 0.0
        self._stopped = threading.Event()
        # A daemon: a registry that does not answer must not hold the end of the process up.
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look that has begun may still end, or end with the process."""
        self._stopped.set()
        self._thread.join(1)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.look()
            self.looked.set()
            self._stopped.wait(self._seconds)

    def look(self) -> None:
        """Look once; whatever fails, the one that answers goes on."""
        try:
            found = self._source.find()
        except Exception as err:  # noqa: BLE001 - a registry can fail in any way, and the service must outlive it
            self._metrics.failures.labels("find").inc()
            self._keep("The registry cannot be read", err)
            return
        loaded = self.state.loaded
        if found is None:
            self._become(State(None, self._source.absent), self._source.absent)
        elif loaded is not None and found == loaded.champion:
            self._become(State(loaded, ""), f"{found.name} version {found.number} answers, all is well again.")
        elif found != self._broken or time.monotonic() >= self._again:
            self._take(found)

    def _take(self, found: Champion) -> None:
        try:
            loaded = load(self._source, found)
        except Exception as err:  # noqa: BLE001 - files can be broken in any way, and the service must outlive it
            self._metrics.failures.labels("load").inc()
            self._failures = self._failures + 1 if found == self._broken else 1
            self._broken = found
            self._again = time.monotonic() + min(self._seconds * 2**self._failures, _LONGEST)
            self._keep(f"{found.name} version {found.number} is the champion, but cannot be loaded", err)
            return
        self._broken = None
        self._metrics.loads.inc()
        self._become(State(loaded, ""), f"{found.name} version {found.number} answers from now on.")

    def _keep(self, problem: str, err: Exception) -> None:
        """Go on as before; the reason, which may name places, goes to the log alone."""
        loaded = self.state.loaded
        rest = f"version {loaded.champion.number} goes on answering" if loaded else "look at the service's log"
        reason = (str(err).splitlines() or [type(err).__name__])[0]
        self._become(State(loaded, f"{problem}; {rest}."), f"{problem}: {reason}")

    def _become(self, state: State, told: str) -> None:
        """Take over a state, and log what is told if it is another one."""
        if state != self.state:
            logger.log(logging.WARNING if state.problem else logging.INFO, "%s", told)
            self._metrics.show_model(state.loaded.champion if state.loaded else None)
            self.state = state
