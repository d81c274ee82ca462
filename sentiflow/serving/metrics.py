"""The figures of the service, as Prometheus reads them: of one process, or sums over all workers."""

import collections
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector

from sentiflow.monitoring.log import Note
from sentiflow.store.records import Version

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class AllWorkers(MultiProcessCollector):
    """Adds the figures of all workers up."""

    def collect(self) -> list[Metric]:
        """All but what those that have ended show of the moment, and files that are empty for a moment."""
        files = [str(file) for file in Path(self._path).glob("*.db") if _size(file)]
        found: list[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]
        return found


def _size(file: Path) -> int:
    """The bytes of a worker's file that count."""
    kind, _, process = file.stem.rpartition("_")
    try:
        return file.stat().st_size if "_live" not in kind or Path(f"/proc/{process}").exists() else 0
    except FileNotFoundError:  # of a worker that has ended
        return 0


class Metrics:
    """Prometheus metrics of the service; ``/metrics`` shows their registry. Labels have few values."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:  # the client library then keeps values in files there
            self.registry = CollectorRegistry()
            AllWorkers(self.registry)  # type: ignore[no-untyped-call]
        else:
            ProcessCollector(registry=own)
        counter, histogram = partial(Counter, registry=own), partial(Histogram, registry=own)
        self._gauge = gauge = partial(Gauge, registry=own)
        self.requests = counter("sentiflow_http_requests", "Requests answered.", ("path", "status"))
        self.seconds = histogram(
            "sentiflow_http_request_seconds", "From request to answer.", ("path",), buckets=_SECONDS
        )
        self.texts = counter("sentiflow_texts_scored", "Texts scored or explained.")
        self.batches = histogram("sentiflow_batch_texts", "Texts in one call.", buckets=_TEXTS)
        self.waiting = gauge("sentiflow_queue_texts", "Texts in the queue.", multiprocess_mode="livesum")
        self.kept = counter("sentiflow_texts_kept", "Texts written to the log for monitoring.")
        self.not_kept = counter("sentiflow_texts_not_kept", "Texts that the log for monitoring did not take.")
        self._labels = counter("sentiflow_predictions", "Texts by the label they got.", ("label",))
        self._drift = gauge(
            "sentiflow_drift_psi", "Population stability index at the last drift check.", ("model", "feature"),
            multiprocess_mode="mostrecent",
        )  # fmt: skip
        self._accuracy = gauge(
            "sentiflow_live_accuracy", "Accuracy in use by the labels of the last sample.", ("model",),
            multiprocess_mode="mostrecent",
        )  # fmt: skip
        self.loads = counter("sentiflow_champion_loads", "Champions loaded.")
        self.failures = counter("sentiflow_champion_failures", "Failed checks, or loads.", ("stage",))
        for stage in ("find", "load"):
            self.failures.labels(stage)  # shown as 0 before the first failure
        self._model = gauge(
            "sentiflow_model_info", "1 for the version in use, 0 for those before it.", ("name", "version"),
            multiprocess_mode="livemax",
        )  # fmt: skip
        self._shown: Gauge | None = None
        self._ready: Gauge | None = None

    def show_ready(self, ready: Callable[[], bool]) -> None:
        """Show from now on whether a champion answers; a worker that starts shows nothing beside the others."""
        self._ready = self._gauge("sentiflow_ready", "1 while a champion answers.", multiprocess_mode="livemin")
        self._ready.set(ready())

    def count_labels(self, labels: Iterable[str]) -> None:
        for label, count in collections.Counter(labels).items():
            self._labels.labels(label).inc(count)

    def show_model(self, version: Version | None, labels: Iterable[str] = ()) -> None:
        """Show the version that answers, and 0 for those of its labels that no text has got."""
        for label in labels:
            self._labels.labels(label)
        before, self._shown = self._shown, None
        if version is not None:
            self._shown = self._model.labels(version.name, str(version.number or ""))
            self._shown.set(1)
        if before is not None and before is not self._shown:
            before.set(0)
        if self._ready is not None:
            self._ready.set(version is not None)

    def show_notes(self, notes: Mapping[str, Note]) -> None:
        """Show what checks noted of each model."""
        for model, note in notes.items():
            for feature, value in note.psi.items():
                self._drift.labels(model, feature).set(value)
            if note.accuracy is not None:
                self._accuracy.labels(model).set(note.accuracy)
