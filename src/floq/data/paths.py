"""Names of datasets and tasks, and where their files lie."""

import os
import re
from pathlib import Path

from floq.disk import user_path
from floq.settings import given

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-v[0-9]+")


def data_directory() -> Path:
    """The folder of the dataset files: `$FLOQ_DATA` where set, else OGBench's own folder.

    Raises:
        ValueError: If it is in the home of a user who has none.
    """
    try:
        return user_path(os.environ.get("FLOQ_DATA") or "~/.ogbench/data")
    except ValueError as error:
        raise ValueError(f"{error} $FLOQ_DATA names the folder of the data.") from None


def dataset_name(name: str) -> str:
    """The dataset that a task is trained on.

    Args:
        name: A task, such as `cube-double-play-singletask-task3-v0`, or a dataset, such as
            `cube-double-play-v0`, which is returned as it is.

    Raises:
        ValueError: `name` does not have the form of either, which also keeps a name from pointing
            outside the data folder.
    """
    if not _NAME.fullmatch(given(str, name, name="the name of the dataset or task")):
        raise ValueError(
            f"{name!r} is not the name of a dataset or task: lower-case words joined by '-' and a "
            "version, such as cube-double-play-v0 or cube-double-play-singletask-task3-v0"
        )
    words = name.split("-")
    if "singletask" in words:
        words = [*words[: words.index("singletask")], words[-1]]
    return "-".join(words)


def dataset_files(name: str, *, directory: Path | None = None) -> tuple[Path, Path]:
    """The training and the validation file of a dataset, whether or not they exist.

    Args:
        name: A dataset or a task.
        directory: The folder of the files, `data_directory()` by default.
    """
    folder = data_directory() if directory is None else user_path(directory)
    stem = dataset_name(name)
    return folder / f"{stem}.npz", folder / f"{stem}-val.npz"
