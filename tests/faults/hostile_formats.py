"""Files made to hurt whoever reads them, in the formats of other libraries."""

import contextlib
import importlib.util
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from floq.data.formats import find_format, format_names
from floq.data.info import check_file
from floq.data.reading import Reading

for _name in format_names():
    find_format(_name)  # What is loaded later would be seen by whoever watches the reading.

Harm = Callable[[h5py.File], Any]
_READINGS = {
    "d4rl": Reading(convention="locomotion"),
    "lerobot": Reading(rewards="demonstrations"),
    "robomimic": Reading(filter_key="train"),
}
_PICKLE = pickle.dumps(os.system)


def _hdf5(kind: str, harm: Harm) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A sound file of a format, then what is put into it."""

    def spoil(run: Any) -> None:
        with h5py.File(run.data.with_suffix(".hdf5"), "w") as file:
            place = file if kind == "d4rl" else file.create_group("data/demo_0")
            for name, values in _sound(kind).items():
                place[name] = values
            if kind != "d4rl":
                file["mask/train"] = [b"demo_0"]
            harm(file)

    return spoil, lambda run: _read(kind, run.data.with_suffix(".hdf5"))


def _read(kind: str, path: Path) -> object:
    return check_file(f"{kind}:{path}", _READINGS.get(kind, Reading()))


def _sound(kind: str) -> dict[str, np.ndarray]:
    ends = np.arange(10) == 9
    arrays = {"actions": np.zeros((10, 2)), "rewards": np.arange(10.0)}
    if kind == "d4rl":
        arrays |= {"observations": np.zeros((10, 3)), "terminals": ends, "timeouts": ends & False}
        return arrays
    return arrays | {"obs/x": np.zeros((10, 3)), "dones": ends}


def _instead(name: str, **options: Any) -> Harm:
    """Another dataset in place of one."""

    def harm(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **options)

    return harm


def _linked(name: str, link: Callable[[h5py.File], Any]) -> Harm:
    """A link in place of a dataset."""

    def harm(file: h5py.File) -> None:
        del file[name]
        file[name] = link(file)

    return harm


def _loop(file: h5py.File) -> None:
    del file["rewards"]
    file["rewards"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/rewards")


def _elsewhere(file: h5py.File) -> None:
    del file["rewards"]
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource("/etc/passwd", "rewards", (10,))
    file.create_virtual_dataset("rewards", layout)


def _in_itself(file: h5py.File) -> None:
    group = file["data/demo_0/obs"]
    group["again"] = group


def _bytes(kind: str, content: bytes, size: int = 0) -> Any:
    """A file of these bytes, made longer without taking room."""

    def spoil(run: Any) -> None:
        path = run.data.with_suffix(".hdf5")
        path.write_bytes(content)
        if size:
            os.truncate(path, size)

    return spoil, lambda run: _read(kind, run.data.with_suffix(".hdf5"))


def _cut(run: Any) -> None:
    spoil, _ = _hdf5("d4rl", lambda file: None)
    spoil(run)
    path = run.data.with_suffix(".hdf5")
    os.truncate(path, path.stat().st_size // 2)


def _minari(**changes: Any) -> Any:
    """A folder whose description is wrong."""

    def spoil(run: Any) -> None:
        folder = run.data.with_suffix("") / "data"
        folder.mkdir(parents=True)
        box = {"type": "Box", "dtype": "float32", "shape": [3], "low": [-1] * 3, "high": [1] * 3}
        metadata = {
            "total_episodes": 1,
            "data_format": "hdf5",
            "observation_space": json.dumps(box),
            "action_space": json.dumps(box),
        }
        (folder / "metadata.json").write_text(json.dumps(metadata | changes))
        with h5py.File(folder / "main_data.hdf5", "w") as file:
            file["episode_0/observations"] = np.zeros((2, 3))
            for name in ("rewards", "terminations", "truncations"):
                file[f"episode_0/{name}"] = np.ones(1)
            file["episode_0/actions"] = np.zeros((1, 3))

    return spoil, lambda run: _read("minari", run.data.with_suffix(""))


_GZIP = {"compression": "gzip", "compression_opts": 9}
CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "hdf5: a link to another file": _hdf5(
        "d4rl", _linked("rewards", lambda file: h5py.ExternalLink("/etc/passwd", "/rewards"))
    ),
    "hdf5: a link to a pipe of the system": _hdf5(
        "d4rl", _linked("rewards", lambda file: h5py.ExternalLink("/dev/zero", "/rewards"))
    ),
    "hdf5: links in a circle": _hdf5("d4rl", _loop),
    "hdf5: a link to itself": _hdf5(
        "robomimic", _linked("data/demo_0/obs", lambda file: h5py.SoftLink("/data/demo_0/obs"))
    ),
    "hdf5: a group in itself": _hdf5("robomimic", _in_itself),
    "hdf5: values of another file": _hdf5("d4rl", _elsewhere),
    "hdf5: values from outside the file": _hdf5(
        "d4rl",
        _instead("rewards", shape=(10,), dtype="f8", external=[("/etc/passwd", 0, 80)]),
    ),
    "hdf5: a bomb of 500 MB": _hdf5(
        "d4rl",
        _instead("observations", data=np.zeros((2**26, 1)), chunks=(2**20, 1), **_GZIP),
    ),
    "hdf5: 10¹² rows that were never written": _hdf5(
        "d4rl", _instead("observations", shape=(10**12, 3), dtype="f4", chunks=(2**20, 3))
    ),
    "hdf5: a piece of 4 GB for ten rows": _hdf5(
        "d4rl",
        _instead("rewards", shape=(10,), maxshape=(None,), dtype="f4", chunks=(2**29,), **_GZIP),
    ),
    "hdf5: texts in place of numbers": _hdf5(
        "d4rl", _instead("rewards", data=np.array([b"text"] * 10))
    ),
    "hdf5: objects in place of numbers": _hdf5(
        "d4rl",
        _instead("rewards", shape=(10,), dtype=h5py.special_dtype(vlen=np.dtype("u1"))),
    ),
    "hdf5: names that lead outside": _hdf5(
        "robomimic", _instead("mask/train", data=[b"../../etc/passwd"])
    ),
    "hdf5: an array in place of a group": _hdf5(
        "robomimic", _instead("data/demo_0/obs", data=np.zeros(3))
    ),
    "hdf5: a pickle behind the signature": _bytes("d4rl", b"\x89HDF\r\n\x1a\n" + _PICKLE),
    "hdf5: a terabyte of nothing": _bytes("d4rl", b"\x89HDF\r\n\x1a\n", 2**40),
    "hdf5: cut in the middle": (_cut, lambda run: _read("d4rl", run.data.with_suffix(".hdf5"))),
    "minari: 10⁹ episodes": _minari(total_episodes=10**9),
    "minari: 10⁶ episodes that are not there": _minari(total_episodes=10**6),
    "minari: a space of brackets": _minari(observation_space="[" * 10**6),
    "minari: a space in spaces": _minari(
        observation_space='{"type":"Dict","subspaces":{"a":' * 900 + "{}" + "}}" * 900
    ),
    "minari: 10⁶ episodes of parquet": _minari(total_episodes=10**6, data_format="parquet"),
}


@contextlib.contextmanager
def _table(run: Any, name: str, schema: Any, **options: Any) -> Iterator[Any]:
    """A writer of a Parquet file in a LeRobot folder."""
    import pyarrow.parquet as pq

    folder = run.data.with_suffix("")
    for inner in ("meta", "data/chunk-000"):
        (folder / inner).mkdir(parents=True)
    features = {
        one: {"dtype": "float32", "shape": [1]} for one in ("observation.state", "action")
    } | {"episode_index": {"dtype": "int64", "shape": [1]}}
    info = {"codebase_version": "v3.0", "total_frames": 10, "features": features}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    with pq.ParquetWriter(folder / "data" / "chunk-000" / name, schema, **options) as writer:
        yield writer


def _rows(run: Any, *, rows: int, times: int, **options: Any) -> Path:
    """Equal rows many times over, in pieces."""
    import pyarrow as pa

    names = ["observation.state", "action", "episode_index"]
    columns = [pa.array(np.zeros(rows, kind)) for kind in ("f4", "f4", "i8")]
    table = pa.table(dict(zip(names, columns, strict=True)))
    with _table(run, "file-000.parquet", table.schema, **options) as writer:
        for _ in range(times):
            writer.write_table(table, row_group_size=rows)
    return run.data.with_suffix("") / "data" / "chunk-000" / "file-000.parquet"


def _varint(value: int, length: int = 0) -> bytes:
    """A number as the footer of a Parquet file has it, made so long by zeros."""
    rest, found = 2 * value, []
    while rest or not found:
        found.append(rest & 127)
        rest >>= 7
    found += [0] * (length - len(found))
    return bytes([one | 128 for one in found[:-1]] + found[-1:])


def _lying(run: Any, fields: Callable[[Any], list[int]], value: int, **options: Any) -> None:
    """The footer says another number in place of some."""
    import pyarrow.parquet as pq

    path = _rows(run, **options)
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = content[start:]
    for number in fields(pq.read_metadata(path)):
        true = _varint(number)
        assert true in footer
        footer = footer.replace(true, _varint(value, len(true)))
    path.write_bytes(content[:start] + footer)


def _in_folder(spoil: Callable[[Any], Any]) -> Any:
    return spoil, lambda run: _read("lerobot", run.data.with_suffix(""))


def _put(content: bytes) -> Callable[[Any], None]:
    return lambda run: _rows(run, rows=10, times=1).write_bytes(content)


_PLAIN = {"use_dictionary": False, "compression": "zstd"}
if importlib.util.find_spec("pyarrow"):
    CASES |= {
        "parquet: 3 · 10⁸ rows in a few bytes": _in_folder(
            lambda run: _rows(run, rows=10**6, times=300)
        ),
        "parquet: pages of 400 MB": _in_folder(
            lambda run: _rows(run, rows=10**8, times=1, data_page_size=2**30, **_PLAIN)
        ),
        "parquet: pages of 400 MB that say 1 kB": _in_folder(
            lambda run: _lying(
                run,
                lambda found: [
                    found.row_group(0).total_byte_size,
                    *(found.row_group(0).column(one).total_uncompressed_size for one in (0, 2)),
                ],
                1000,
                **{"rows": 10**8, "times": 1, "data_page_size": 2**30, **_PLAIN},
            )
        ),
        "parquet: 10⁹ rows that are not there": _in_folder(
            lambda run: _lying(run, lambda found: [found.num_rows], 10**9, rows=99_999, times=1)
        ),
        "parquet: a pickle": _in_folder(_put(b"PAR1" + _PICKLE + b"PAR1")),
        "parquet: a footer of 2 GB": _in_folder(_put(b"PAR1" + b"\xff\xff\xff\x7fPAR1")),
    }
if importlib.util.find_spec("pyarrow") and importlib.util.find_spec("av"):
    from tests.faults import pictures, videos

    CASES |= videos.CASES | pictures.CASES
