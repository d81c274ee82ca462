"""What text must not carry to where people, logs and other programs see it: secrets, and orders to a terminal."""

import os
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import urlparse, urlunparse

_JOINERS = "\u200c\u200d"  # part of Persian, of Indian scripts and of emoji; no terminal obeys them

# Variables whose values are secrets.
_VARIABLES = (
    "SENTIFLOW_SERVE_TOKEN", "SENTIFLOW_NOTIFY_URL", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
    "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_KEY",
)  # fmt: skip
_SHORT = 6  # characters: a shorter value stands in other words, too

_MARKUP = re.compile(r"([\\`*~|<\[\]]|^#|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_]))")
# The queries of links to MLflow's pages: of a run, and of a review queue.
_OURS = r"(?!(?:workflowType=machine_learning|selectedQueueId=rq-[0-9a-f]{32})(?:[\s)\]]|$))"

_SECRET = r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|signature|sig|credential)"
_WORD = r"[^\s'\",;]+"

# Bounds keep the time linear in a text's length, and so do rules that take all there is, and then look for a mark.
_RULES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(pattern, re.IGNORECASE), shown)
    for pattern, shown in (
        # Logins in addresses. Those of databases may hold slashes; after a colon stands a port or a password.
        (r"(?<=://)[^\s/?#]*@", "***@"),
        (
            r"(?:(?<!http)(?<!https)://(?!/)|://[^\s:/?#@\[]*:(?!\d))\S*",
            lambda found: re.sub(r"^://.*@", "://***@", found[0]),
        ),
        (r"(?<![^\s'\"(=,/])[^\s:@/]{1,255}:[^\s@/]{1,255}@", "***@"),
        # Queries of addresses, and what is named as a secret, quoted as libpq takes it.
        (rf"(://[^\s?]*)(\?{_OURS}\S+)?", lambda found: found[1] + ("?***" if found[2] else "")),
        (rf"({_SECRET}\s{{0,9}}=\s{{0,9}})(?:'(?:[^'\\]|\\.)*'?|\S+)", r"\1***"),
        # Headers: scheme and token.
        (rf"(\bauthorization['\"]?\s{{0,9}}[:=]\s{{0,9}}['\"]?){_WORD}(?:\s{{1,9}}{_WORD})?", r"\1***"),
        (rf"(\bbearer\s{{1,9}}){_WORD}", r"\1***"),
    )
]


def redact(text: str) -> str:
    """A text without secrets: logins and queries of addresses, passwords, headers, values of known variables.

    Where it is in doubt, more is left out than need be. The path stays.

    Example:
        >>> redact("postgresql://me:secret@db/mlflow?sslmode=require")
        'postgresql://***@db/mlflow?***'
        >>> redact("no answer from https://token@mlflow.example/x: password=secret is wrong")
        'no answer from https://***@mlflow.example/x: password=*** is wrong'
    """
    for name in _VARIABLES:
        if len(value := os.environ.get(name, "")) >= _SHORT:
            text = text.replace(value, "***")
    for pattern, shown in _RULES:
        text = pattern.sub(shown, text)
    return text


def without_login(address: str) -> str:
    """An http(s) address that leads to the same page, but without login and query, which no link may carry."""
    parts = urlparse(address)
    return redact(urlunparse(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")))


def without_secrets(err: Exception) -> Exception:
    """A library's error with its causes, redacted: Prefect stores the whole traceback of a failed run."""
    each: BaseException | None = err
    while each is not None:
        each.args = tuple(redact(str(arg)) if isinstance(arg, (str, Exception)) else arg for arg in each.args)
        each = each.__cause__ or each.__context__
    return err


def printable(text: str, keep: str = "") -> str:
    r"""A text that a terminal shows and does not obey, on one line.

    Control characters, line ends, marks that turn the direction of writing, and halves of surrogate pairs become
    what Python would write for them (``\x1b``). Those to ``keep``, such as line ends, are left as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        char if _is_shown(char) or char in keep else char.encode("unicode_escape").decode() for char in text
    )


def _is_shown(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs"


def is_unicode(text: str) -> bool:
    """Whether a text can be written at all: halves of surrogate pairs cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escape_markdown(text: str) -> str:
    """A text on one line that Markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(text.splitlines()))
