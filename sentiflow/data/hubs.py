"""Datasets of Hugging Face and of Kaggle, downloaded by their own clients, which are extras."""

from pathlib import Path

from sentiflow.environment import need
from sentiflow.errors import UnreachableError, UsageError, first_line
from sentiflow.files import PARTIAL
from sentiflow.locks import file_lock
from sentiflow.names import HUGGING_FACE, in_hub
from sentiflow.settings import Settings

_PATIENCE = 1_800.0  # seconds that another download of the same dataset may take


def bring(dataset: str, settings: Settings) -> Path:
    """Where a hub's dataset, or what is named within it, is on this machine; what is newest is downloaded.

    Raises:
        UsageError: it is no name of a dataset, or the client is not installed.
        UnreachableError: the client could not download it.
    """
    hub, name = in_hub(dataset)
    owner, title, *below = [*name.split("/"), ""]
    if not (owner and title):
        raise UsageError(f"{dataset} names no dataset.", f"Name its owner, too: {hub}OWNER/NAME")
    need("huggingface" if hub == HUGGING_FACE else "kaggle", dataset)
    below = below[:-1]
    try:
        if hub == HUGGING_FACE:
            return _of_hugging_face(owner, title, settings).joinpath(*below)
        return _of_kaggle(owner, title, below)
    except Exception as err:  # noqa: BLE001 - a client's own, of HTTP, of names, of a full disk
        raise UnreachableError(f"Cannot download {dataset}: {first_line(err)}") from None


def _of_hugging_face(owner: str, title: str, settings: Settings) -> Path:
    """The files of the newest commit, or of that behind an ``@``, in a folder of their own.

    In the client's cache they are links that lead out of their folder, as no table may be.
    """
    from huggingface_hub import HfApi

    title, _, revision = title.partition("@")
    hub, dataset = HfApi(), f"{owner}/{title}"
    about = hub.dataset_info(dataset, revision=revision or None)
    folder = settings.data_dir / "hubs" / f"{owner}-{title}" / str(about.sha)
    with file_lock(folder.parent / ".lock", f"Another download of {dataset}", "download", patience=_PATIENCE):
        if not folder.exists():
            partial = folder.with_name(f".{folder.name}{PARTIAL}")  # one that was ended is gone on with
            hub.snapshot_download(dataset, repo_type="dataset", revision=about.sha, local_dir=partial)
            # Where the network fails at once, the client gives what is there.
            named = (each.rfilename for each in about.siblings or ())
            if missing := [name for name in named if not (partial / name).is_file()]:
                raise FileNotFoundError(f"{len(missing)} files are missing, such as {missing[0]}")
            partial.rename(folder)
    return folder


def _of_kaggle(owner: str, title: str, below: list[str]) -> Path:
    import kagglehub

    version = below[:2] if below[:1] == ["versions"] else []
    return Path(kagglehub.dataset_download("/".join([owner, title, *version]))).joinpath(*below[len(version) :])
