"""Runs that others have shared on the Hugging Face Hub."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from floq.extras import require_extra

PREFIX = "hf:"
_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_REVISION = re.compile(r"[\w./-]{1,128}")
FILES = re.compile(
    r"(config|versions)\.json|(metrics|evaluations|timings)\.jsonl"
    r"|checkpoints/(step_\d{9,})/(state\.json|manifest\.json|(state|extra)\.safetensors)"
)
"""What of a run is shared, and fetched: nothing else of a repository is ever touched."""


def is_shared(name: str | Path) -> bool:
    """Whether a run's place is on the Hub: `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`."""
    return str(name).startswith(PREFIX)


def check_name(name: str) -> str:
    """The name of a repository, OWNER/NAME.

    Raises:
        ValueError: If it is none.
    """
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"{name!r} is no name on the Hub: give OWNER/NAME.")
    return name


def repository_of(place: str | Path) -> tuple[str, str]:
    """Name and revision of `hf:OWNER/NAME@REVISION`; the revision is empty if it has none.

    Raises:
        ValueError: If one of them is none.
    """
    name, _, revision = str(place).removeprefix(PREFIX).partition("@")
    check_name(name)
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise ValueError(f"{revision!r} is no revision: give a branch, a tag or a commit.")
    return name, revision


def fetch(place: str | Path) -> Path:
    """Fetches a run's settings, rows and newest checkpoint into the Hub's cache on this machine.

    Its checkpoint is verified by its own SHA-256 when it is loaded.

    Args:
        place: `hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`.

    Returns:
        The run's folder.

    Raises:
        ConnectionError: If the Hub cannot be reached, or does not give the repository.
        FileNotFoundError: If there is no run in it.
        MissingExtraError: If huggingface_hub is not installed.
        ValueError: If that is no name.
    """
    name, revision = repository_of(place)
    require_extra("hub")
    import huggingface_hub  # pyright: ignore[reportMissingImports]

    with hub_errors(name):
        info = huggingface_hub.HfApi().model_info(name, revision=revision or None)
        names = [file.rfilename for file in info.siblings or ()]
        found = {one: match[3] for one in names if (match := FILES.fullmatch(one))}
        newest = max((step for step in found.values() if step), key=_step, default=None)
        if newest is None or "config.json" not in found:
            raise FileNotFoundError(f"{PREFIX}{name} holds no run: `floq push` shares one.")
        for one, step in found.items():
            if step in (None, newest):
                huggingface_hub.hf_hub_download(name, one, revision=info.sha)
        return Path(huggingface_hub.hf_hub_download(name, "config.json", revision=info.sha)).parent


def _step(name: str) -> int:
    return int(name.removeprefix("step_"))


@contextlib.contextmanager
def hub_errors(name: str) -> Iterator[None]:
    """Says in a sentence why the Hub does not do what it should.

    Raises:
        ConnectionError: In place of the Hub's and the network's own errors.
    """
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled  # pyright: ignore[reportMissingImports]

    # The HTTP client's own error, whichever client this version of huggingface_hub has.
    unreachable: Any = HfHubHTTPError.__bases__[0]
    try:
        yield
    except OfflineModeIsEnabled:
        raise ConnectionError(
            f"{PREFIX}{name} is on the Hugging Face Hub, and HF_HUB_OFFLINE says not to ask it: "
            "unset that."
        ) from None
    except HfHubHTTPError as error:
        said = str(error).strip().splitlines()
        raise ConnectionError(
            f"the Hugging Face Hub refuses {name} ({said[0] if said else type(error).__name__}): "
            "is the name right, and do you have access? `hf auth login` says who you are."
        ) from None
    except unreachable as error:
        raise ConnectionError(
            f"the Hugging Face Hub cannot be reached ({type(error).__name__}: {error}): there is "
            "no network, or HF_ENDPOINT names a wrong host."
        ) from None
