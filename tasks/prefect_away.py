"""A Prefect server that is away, or refuses the login: its client's errors do not say who was asked."""


def prefect_away(err: BaseException) -> str | None:
    """What to say when Prefect's client could not reach its server; None for any other error."""
    away = type(err).__module__.partition(".")[0] in ("httpx", "httpcore") or "Failed to reach API" in str(err)
    return f"The Prefect server does not answer: {(str(err).splitlines() or [''])[0][:300]}" if away else None


def refused_login(err: BaseException) -> bool:
    """Whether Prefect's server refused the login of its client, or that there was none."""
    return type(err).__name__ == "PrefectHTTPStatusError" and "401 Unauthorized" in str(err)
