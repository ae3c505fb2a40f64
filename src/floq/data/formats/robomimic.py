"""robomimic's HDF5 files: demonstrations under data, named lists of them under mask."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from floq.data.formats import hdf5
from floq.data.formats.episodes import Episode, Stream, chosen_parts, observed
from floq.data.reading import Reading

OPTIONS = ("filter_key", "observation_keys")
_DEMO = re.compile(r"demo_[0-9]{1,9}")


def recognises(path: Path) -> bool:
    """Whether it is an HDF5 file with a group of demonstrations."""
    if "data" not in hdf5.first_names(path):
        return False
    try:
        with hdf5.opened(path) as file:
            return any(map(_DEMO.fullmatch, file.group("data").names()))
    except ValueError:
        return False


def stream(path: Path, reading: Reading) -> Stream:
    """The demonstrations as they come, in the order of their numbers.

    Raises:
        ValueError: The file is damaged, or there is no such filter key or, as they come, no such
            part of observations.
        MissingExtraError: h5py is not installed.
    """
    with hdf5.opened(path) as file:
        names = [name for name in file.group("data").names() if _DEMO.fullmatch(name)]
        if reading.filter_key is not None:
            names = _filtered(file, names, reading.filter_key)
    names.sort(key=lambda name: int(name.removeprefix("demo_")))
    return Stream(path, _episodes(path, names, reading), len(names), layout="transitions")


def _episodes(path: Path, names: list[str], reading: Reading) -> Iterator[Episode]:
    with hdf5.opened(path) as file:
        parts = None
        for name in names:
            demo = file.group("data").group(name)
            if parts is None:
                parts = _parts(demo.group("obs"), reading, f"{path}: {name}/obs")
            yield _episode(demo, name, parts)


def _filtered(file: hdf5.Group, names: list[str], key: str) -> list[str]:
    masks = file.group("mask") if "mask" in file else None
    if masks is None or key not in masks:
        there = "none" if masks is None else ", ".join(sorted(masks.names()))
        raise ValueError(f"{file.path}: filter_key is {key!r}, and under mask there is {there}")
    wanted = masks.texts(key)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(f"{file.path}: mask/{key} names {missing[0]!r}, which is not there")
    return list(dict.fromkeys(wanted))


def _parts(group: hdf5.Group, reading: Reading, source: str) -> list[str]:
    forms = {}
    for name in group.names():
        is_read = not reading.observation_keys or name in reading.observation_keys
        # What is not read may be anything, such as text.
        shape, dtype = group.form(name) if is_read else ((), np.dtype(float))
        forms[name] = (shape[1:], dtype)
    return chosen_parts(forms, reading, source=source)


def _episode(demo: hdf5.Group, name: str, parts: list[str]) -> Episode:
    source = f"{demo.path}: {name}"
    arrays, forms = {}, []
    for field, folder in (("observations", "obs"), ("next_observations", "next_obs")):
        if folder == "obs" or folder in demo:
            group = demo.group(folder)
            found = {part: group.array(part) for part in parts}
            arrays[field], form = observed(found, source=f"{source}/{folder}")
            forms.append(form)
    if len({*forms}) > 1:
        raise ValueError(
            f"{source}: obs hold {forms[0]}, and next_obs {forms[1]}: both must describe the same "
            "state"
        )
    steps = {field: demo.array(field) for field in ("actions", "rewards", "dones")}
    dones = steps.pop("dones")
    wrong = np.flatnonzero((dones != 0) & (dones != 1))
    if wrong.size:
        raise ValueError(
            f"{source}: dones must be 0 or 1: row {wrong[0]} holds {dones.flat[wrong[0]]}"
        )
    ends = np.arange(len(dones)) == len(dones) - 1
    last = {"ends": ends} if "next_observations" in arrays else {"terminals": ends}
    return Episode(name, arrays | steps | {"masks": 1.0 - dones} | last, forms[0])
