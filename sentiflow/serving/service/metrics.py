"""What Prometheus may know; every label value is one of few."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from sentiflow.serving.service.schemas import Champion

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """The service's figures, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self.requests = Counter("sentiflow_http_requests", "Requests answered.", ("path", "status"), registry=own)
        self.seconds = Histogram(
            "sentiflow_http_request_seconds", "From request to answer.", ("path",), buckets=_SECONDS, registry=own
        )
        self.texts = Counter("sentiflow_texts_scored", "Texts scored or explained.", registry=own)
        self.batches = Histogram("sentiflow_batch_texts", "Texts in one call.", buckets=_TEXTS, registry=own)
        self.waiting = Gauge("sentiflow_queue_texts", "Texts that wait for their turn.", registry=own)
        self.kept = Counter("sentiflow_texts_kept", "Texts written to the log for monitoring.", registry=own)
        self.not_kept = Counter(
            "sentiflow_texts_not_kept", "Texts that the log for monitoring did not take.", registry=own
        )
        self.loads = Counter("sentiflow_champion_loads", "Champions loaded.", registry=own)
        self.failures = Counter(
            "sentiflow_champion_failures",
            "Looks or loads that failed.",
            ("stage",),
            registry=own,
        )
        for stage in ("find", "load"):
            self.failures.labels(stage)  # shown as 0 before the first failure
        self._model = Gauge("sentiflow_model_info", "1 for who answers.", ("name", "version"), registry=own)
        self._ready = Gauge("sentiflow_ready", "1 while a champion answers, else 0.", registry=own)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count one request."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def show_model(self, champion: Champion | None) -> None:
        """Show who answers, and nobody else."""
        self._model.clear()
        self._ready.set(champion is not None)
        if champion is not None:
            self._model.labels(champion.name, str(champion.number)).set(1)

    def render(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)
