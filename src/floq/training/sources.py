"""Where a run's data comes from, and that it is found again."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from floq.data.bounds import ActionBounds
from floq.data.dataset import Dataset
from floq.data.formats import Source, as_sources
from floq.data.goals import Goals
from floq.data.loading import GOALS_IN_MEMORY, STREAMED, streamed_source
from floq.data.reading import Reading
from floq.data.streamed import Data, StreamedDataset
from floq.envs.preflight import Bounds
from floq.runs.directory import RunConfig
from floq.runs.settings import Online
from floq.tasks import load_task


class DataFile(NamedTuple):
    """Files of data, in place of the data.

    Attributes:
        path: A source as `Dataset.load` reads it, or several.
        bounds: What -1 and 1 stand for in its actions, where it does not say.
        reading: How to read it, where it leaves that open.
        device_memory: What it may take on the device, such as "8GB": if it is larger, parts of it
            take turns there, as `floq.StreamedDataset` has them. "auto" is what fits, None all.

    Example:
        >>> floq.DataFile("d4rl:hopper.hdf5", reading=floq.Reading(convention="locomotion"))
    """

    path: str | Path | Sequence[str | Path]
    bounds: Bounds | None = None
    reading: Reading = Reading()
    device_memory: str | int | None = "auto"


class Noted(NamedTuple):
    """What a run notes of its data, so that it is found again.

    Attributes:
        data: The source, or sources; None of data that was given in Python.
        reading: How they were read; None where nothing was said.
    """

    data: str | tuple[str, ...] | None = None
    reading: Reading | None = None


def read_dataset(
    dataset: Data | DataFile | str | Path | None,
    *,
    is_streamed: bool | None = None,
    in_memory: str = "",
) -> tuple[Data | None, Noted]:
    """The data, and where it was read from, if it was.

    Args:
        dataset: The data, or its files.
        is_streamed: Whether it must be streamed, or must not be; None leaves it to its size.
        in_memory: Why all of it must be in memory, if it must.

    Raises:
        TypeError: If it is neither.
        ValueError: If that cannot be.
    """
    if dataset is None or isinstance(dataset, Dataset | StreamedDataset):
        is_part = isinstance(dataset, StreamedDataset)
        if dataset is not None and is_streamed and not is_part:
            raise ValueError(
                "the run was trained on data that is streamed: give its files, in place of a "
                "Dataset."
            )
        if is_part and (in_memory or is_streamed is False):
            reason = in_memory or "the run was trained on data in memory"
            raise ValueError(f"this data is streamed, but {reason}. Give its files, or a Dataset.")
        return dataset, Noted()
    if not isinstance(dataset, DataFile | str | os.PathLike | list | tuple):
        raise TypeError(
            f"dataset is of type {type(dataset).__name__}: give a floq.Dataset, such as "
            "floq.Dataset.from_transitions(...) makes of arrays, or the path of its file."
        )
    file = dataset if isinstance(dataset, DataFile) else DataFile(dataset)
    sources = [Source(one.format, one.path.resolve()) for one in as_sources(file.path)]
    names = [one.noted for one in sources]
    reading = file.reading if file.reading.said else None
    noted = Noted(tuple(names) if len(names) > 1 else names[0], reading)
    bounds = None if file.bounds is None else ActionBounds(*map(tuple, file.bounds))
    if file.reading.rewards is not None:
        in_memory = in_memory or (
            "its rewards follow from successes, of data in memory (`floq data convert` writes "
            "them, to be streamed)"
        )
    memory = {None: file.device_memory, True: STREAMED, False: None}[is_streamed]
    found = streamed_source(sources, memory, bounds, in_memory=in_memory)
    if found is None:
        low, high = (None, None) if bounds is None else map(np.asarray, bounds)
        found = Dataset.load(sources, reading=file.reading, action_low=low, action_high=high)
    return found, noted


def why_in_memory(online: Online | None, goals: Goals | None) -> str:
    """Why a run's data must all be in memory; empty where it may be streamed."""
    if goals is not None:
        return GOALS_IN_MEMORY
    if online is not None and online.buffer != "online":
        return (
            f"the buffer {online.buffer!r} draws offline and online transitions together, from "
            'data in memory (buffer="online" draws the latter alone)'
        )
    return ""


def verified_dataset(
    path: Path,
    config: RunConfig,
    dataset: Data | DataFile | str | Path | None,
    *,
    directory: Path | None = None,
) -> tuple[Data, Noted]:
    """The run's dataset, and no other, and where it was read from, if it was.

    Args:
        path: The run.
        config: What its `config.json` says.
        dataset: The data, or its file; that which the run has noted, or of its task, by default.
        directory: Folder of the task's dataset files; the usual one by default.

    Raises:
        FileNotFoundError: If the data file is not there.
        ValueError: If the run has no task and no dataset is given, or it is another one.
    """
    if dataset is None and config.data is None and config.task is None:
        raise ValueError(
            f"{path} was not started from one of floq's tasks: give its data as `dataset`, or as "
            "--data PATH where Dataset.save has written it."
        )
    if dataset is None and config.data is not None:
        try:
            as_sources(config.data)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}. This is the data of {path}: give the place where it lies now as "
                "`dataset`, or as --data PATH."
            ) from error
    given = config.data if dataset is None else dataset
    if given is not None and not isinstance(given, Dataset | StreamedDataset):
        file = given if isinstance(given, DataFile) else DataFile(given)
        given = file._replace(
            bounds=file.bounds or config.action_bounds,
            reading=file.reading if file.reading.said else config.reading or Reading(),
        )
    found, noted = read_dataset(given, is_streamed=config.parts is not None)
    if found is None:
        assert config.task is not None
        memory = None if config.parts is None else STREAMED
        kwargs = config.environment.kwargs if config.environment else {}
        choices: dict[str, Any] = {key: kwargs[key] for key in ("reward",) if key in kwargs}
        choices |= {} if config.goals is None else {"goals": config.goals}
        found, env = load_task(config.task, directory=directory, device_memory=memory, **choices)
        env.close()
    fingerprint = found.fingerprint()
    if fingerprint != config.fingerprint:
        raise ValueError(
            f"{path} was trained on another dataset: its fingerprint is {config.fingerprint}, that "
            f"of the data given now is {fingerprint}. Find the former data, or train anew."
        )
    return found, noted if noted.data else Noted(config.data, config.reading)
