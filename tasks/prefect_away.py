"""A Prefect server that does not answer: its client raises httpx's own errors, which do not say who was asked."""


def prefect_away(err: BaseException) -> str | None:
    """What to say when Prefect's client could not reach its server; None for any other error."""
    away = type(err).__module__.partition(".")[0] in ("httpx", "httpcore") or "Failed to reach API" in str(err)
    return f"The Prefect server does not answer: {(str(err).splitlines() or [''])[0][:300]}" if away else None
