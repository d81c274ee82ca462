"""A lock in PostgreSQL, for trainings on several machines: it dies with its session, and so with its process."""

import threading
import time

from sentiment.errors import BusyError, WorldError
from tasks.lock_session import LockSession
from tasks.loggers import Logger

HOUSEKEEPING = "housekeeping"

_BEAT = 5.0  # seconds between two looks at the session
_POLL = 1.0  # seconds between two attempts of who waits
_BRIEF = 30.0  # seconds: many times what housekeeping holds a lock for


class SharedLock:
    """One lock of one name, held by a session of its own.

    A session that breaks (PostgreSQL restarted, a network cut) is opened again in the background, and the lock
    taken again; the log tells. Who finds it taken by another meanwhile goes on, and tells: its result is right all
    the same, and hours of work are worth more than the load of two trainings at a time.

    Attributes:
        lost_to: who took the lock while the session was broken; None as it should be.
    """

    def __init__(self, url: str, name: str, purpose: str, logger: Logger) -> None:
        self.lost_to: str | None = None
        self._session, self._name, self._logger = LockSession(url, name, purpose), name, logger
        self._holds = False
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True, name=f"lock of {name}")

    def take(self, seconds: float, what: str) -> None:
        """Take the lock, waiting so long for another holder, of whom the log tells.

        Raises:
            UsageError: the driver is missing, or the address is none.
            BusyError: another session still holds the lock.
            WorldError: PostgreSQL does not answer.
        """
        try:
            self._wait(seconds, what)
        except BaseException:
            self._session.close()
            raise
        self._holds = True
        self._keeper.start()

    def release(self) -> None:
        """Give the lock back by ending its session."""
        self._ended.set()
        self._keeper.join()
        if not self._holds:
            self._logger.warning("The shared lock of %s was not held at the end.", self._name)
        self._session.close()

    def _wait(self, seconds: float, what: str) -> None:
        began, told = time.monotonic(), False
        while (reason := self._ask(what, patient=time.monotonic() - began < seconds)) is not None:
            if f" {HOUSEKEEPING}, " in reason:
                seconds = max(seconds, _BRIEF)
            if time.monotonic() - began >= seconds:
                raise BusyError(reason, "Wait for it to end, or stop that process.")
            if not told:
                self._logger.info("%s Waiting up to %.0f s.", reason, seconds)
                told = True
            time.sleep(min(_POLL, seconds))
        if told:
            self._logger.info("Went on after %.0f s of waiting.", time.monotonic() - began)

    def _ask(self, what: str, *, patient: bool) -> str | None:
        """Try once, and say what stands against it; a PostgreSQL that is away may come back in time."""
        try:
            holder = self._session.take(newcomer=True)
        except WorldError as err:
            if not patient:
                raise
            return str(err.args[0])
        return None if holder is None else f"{what} is running: {holder}."

    def _keep(self) -> None:
        """Look at the session until the lock is given back; nothing else uses it meanwhile."""
        broken = 0.0
        while not self._ended.wait(_BEAT if self._holds else min(_POLL, _BEAT)):
            if self._holds and not self._session.lives():
                self._holds, broken = False, time.monotonic()
                self._logger.warning("The session that holds the shared lock of %s broke.", self._name)
            if not self._holds and self._retake():
                self._holds = True
                seconds = time.monotonic() - broken
                self._logger.warning("Holding the shared lock of %s again after %.0f s.", self._name, seconds)

    def _retake(self) -> bool:
        try:
            holder = self._session.take(newcomer=False)
        except WorldError:  # still away; the next turn asks again, and the end tells
            return False
        if holder is not None and self.lost_to is None:
            self.lost_to = holder
            self._logger.warning(
                "LOST the shared lock of %s while its session was broken, to %s. "
                "This training goes on, and its run says so.",
                self._name,
                holder,
            )
        return holder is None
