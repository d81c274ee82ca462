"""What text must not carry to where people, logs and other programs see it: secrets, and orders to a terminal."""

import re
import unicodedata
from collections.abc import Callable
from urllib.parse import urlparse, urlunparse

_JOINERS = "\u200c\u200d"  # part of Persian, of Indian scripts and of emoji; no terminal obeys them

# Bounds keep the time linear in a text's length, and so do rules that take all there is, and then look for an @.
_ANY = r"\S{0,1000}"
_HOST = r"(?:\[[\da-fA-F:.%]{2,80}\]|[\w.%-]{1,255})"
_END = r"""(?=[.:]?(?:[/?#\s'"<>),;\]]|$))"""
_WORD = r"[^\s'\",;]+"
_SECRET = r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|signature|sig|credential)"

_MARKUP = re.compile(r"([\\`*~|<\[\]]|^#|&(?=#?\w+;)|(?<![^\W_])_|_(?![^\W_]))")
# The queries of links to MLflow's pages: of a run, and of a review queue.
_OURS = r"(?!(?:workflowType=machine_learning|selectedQueueId=rq-[0-9a-f]{32})(?:[\s)\]]|$))"


def _before_the_last_at(shown: str) -> Callable[[re.Match[str]], str]:
    """Show this in place of all before the last @ of what was found; all of it where there is no @."""

    def hide(found: re.Match[str]) -> str:
        _, at, rest = found[0].rpartition("@")
        return f"{shown}@{rest}" if at else found[0]

    return hide


def _after_the_first(mark: str) -> Callable[[re.Match[str]], str]:
    """Hide all behind the first such mark of what was found, if there is one."""

    def hide(found: re.Match[str]) -> str:
        shown, at, _ = found[0].partition(mark)
        return f"{shown}{at}***" if at else found[0]

    return hide


_LOGIN = _before_the_last_at("://***")

_RULES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(pattern, re.IGNORECASE), shown)
    for pattern, shown in (
        # A login is all up to the last @, whatever stands in it, unless a host (and a port) ends before.
        (rf"://(?!/)(?!{_HOST}(?::\d*)?{_END})[^@]*(?:@(?:{_ANY}@)?)?", _LOGIN),
        # `me:12/34@host` may be a port and a path or a login: it is taken for the latter.
        (rf"://{_HOST}:\d+[/?][^\s#]*", _LOGIN),
        (rf"(?<!http)(?<!https)://{_HOST}\S*", _LOGIN),
        # Without a scheme, and with the slashes alone.
        (r"(?<![^\s'\"(=,</])(?<!//)[^\s:@/]{1,255}:(?!/)\S*", _before_the_last_at("***")),
        (r"(?<![^\s'\"(=,<])//[^\s:@/]{1,255}:\S*", _before_the_last_at("//***")),
        (r"(/services/T\w{1,99}/B\w{1,99}/|/api/webhooks/\d{1,99}/)[\w-]+", r"\1***"),  # of Slack and Discord
        (
            rf"(\bauthorization['\"]?\s{{0,9}}[:=]\s{{0,9}}['\"]?){_WORD}(?:\s{{1,9}}{_WORD})?",
            r"\1***",
        ),  # scheme, token
        (rf"(\bbearer\s{{1,9}}){_WORD}", r"\1***"),
        (rf"://[^\s?]*(?:\?{_OURS}\S+)?", _after_the_first("?")),
        (rf"(/[^\s?/]{{0,255}})\?{_OURS}{_ANY}=\S*", r"\1?***"),  # libraries name a path and its query alone
        # In the path of a file it is a character like others.
        (r"(?<!sqlite)(?<!file)://[^\s#]*(?:#(?!/)\S+)?", _after_the_first("#")),
        # As libpq takes them: password=secret or password = 'a \' secret'.
        (rf"({_SECRET}\s{{0,9}}=\s{{0,9}})(?:'(?:[^'\\]|\\.)*'?|\S+)", r"\1***"),
    )
]


def redact(text: str) -> str:
    """An address, or a text that may hold some, without what may be secret: logins, queries, passwords.

    Where it is in doubt, more is left out than need be. The path stays.

    Example:
        >>> redact("postgresql://me:secret@db/mlflow?sslmode=require")
        'postgresql://***@db/mlflow?***'
        >>> redact("no answer from https://token@mlflow.example/x: password=secret is wrong")
        'no answer from https://***@mlflow.example/x: password=*** is wrong'
    """
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
