"""Files made to hurt whoever reads them, in every format that floq reads."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from floq.algorithms import floq
from floq.data.info import check_file, describe
from floq.data.paths import dataset_files
from floq.disk import json_bytes
from floq.export.floq_policy import load_policy, manifest
from floq.runs.checkpoint import checkpoint_paths, load_checkpoint
from floq.runs.directory import read_config, read_rows, read_versions
from floq.runs.shards import fingerprint
from floq.runs.states import states_template
from floq.watching import look


class Run:
    """A copy of a sound run, its exported policy and a sound data file, to spoil."""

    def __init__(self, folder: Path):
        """Finds them.

        Args:
            folder: Where they lie, as `run`, `policy` and `data.npz`.
        """
        self.path = folder / "run"
        self.data = folder / "data.npz"
        self.policy = folder / "policy"
        self.newest = checkpoint_paths(self.path / "checkpoints")[-1]

    def spoil(self, name: str, content: bytes) -> None:
        """Puts a file into the newest checkpoint, and makes the manifest agree."""
        (self.newest / name).write_bytes(content)
        self.agree(name, fingerprint(content))

    def agree(self, name: str, fingerprint: dict[str, Any]) -> None:
        """Makes the manifest say something of a file."""
        path = self.newest / "manifest.json"
        manifest = json.loads(path.read_bytes())
        manifest["files"][name] = fingerprint
        path.write_bytes(json_bytes(manifest))

    def read_checkpoint(self) -> None:
        """Reads the newest checkpoint alone."""
        config = read_config(self.path)
        template = states_template(floq, config.config, config.statistics, config.seeds)
        load_checkpoint(self.newest, template)


class _Harmful:
    """An object whose unpickling leaves a trace."""

    def __reduce__(self) -> Any:
        return os.system, ("touch trace",)


_PICKLE = pickle.dumps(_Harmful())


def _sparse(path: Path, size: int = 2**40) -> None:
    """A file that is large and takes no room."""
    with path.open("wb") as file:
        file.truncate(size)


def _npy(descr: str, shape: str, content: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


def _archive(path: Path, **entries: bytes) -> None:
    """The sound file with some entries replaced or added, whatever they hold."""
    with zipfile.ZipFile(path) as sound:
        contents = {name: sound.read(name) for name in sound.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (contents | entries).items():
            archive.writestr(name, content)


def _objects() -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.array([_Harmful()], dtype=object), allow_pickle=True)
    return stream.getvalue()


def _bomb(path: Path, megabytes: int) -> None:
    """Some megabytes of zeros for each megabyte of file, written without holding them."""
    rows = megabytes * 2**20 // 4
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("observations.npy", "w", force_zip64=True) as stream:
            stream.write(_npy("'<f4'", f"({rows}, 1)"))
            for _ in range(megabytes):
                stream.write(bytes(2**20))
        for name in ("actions", "terminals"):
            archive.writestr(f"{name}.npy", _npy("'<f4'", "(1, 1)", bytes(4)))


def _many_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(30_000):
            archive.writestr(f"{index}.npy", b"")


def _overlapping(path: Path) -> None:
    """An archive whose directory names the same bytes under every name."""
    _bomb(path, 100)
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\x01\x02")
    offset = content[first + 42 : first + 46]
    place = content.index(b"PK\x01\x02", first + 4)
    content[place + 42 : place + 46] = offset
    path.write_bytes(content)


def _header(fields: Any, size: int | None = None) -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text


def _entry(dtype: str, shape: list[int], offsets: list[int]) -> dict[str, Any]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def _edited(path: Path, **changes: Any) -> None:
    """A JSON file with other values at the top."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _giant_state(run: Run) -> None:
    _sparse(run.newest / "state.safetensors")
    run.agree("state.safetensors", {"bytes": 2**40, "sha256": "0" * 64})


def _linked(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _exported(**contents: bytes) -> "Case":
    """An exported policy with other files, for which its manifest vouches."""

    def spoil(run: Run) -> None:
        files = json.loads((run.policy / "manifest.json").read_bytes())["files"]
        for name, content in contents.items():
            path = run.policy / name.replace("__", ".")
            path.write_bytes(content)
            files[path.name] = fingerprint(content)
        (run.policy / "manifest.json").write_bytes(manifest(files))

    return spoil, lambda run: load_policy(run.policy)


def _in_export(name: str, harm: Callable[[Path], Any]) -> "Case":
    return lambda run: harm(run.policy / name), lambda run: load_policy(run.policy)


def _long_flow(run: Run) -> None:
    """A program that would compute for hours."""
    record = json.loads((run.policy / "policy.json").read_bytes())
    record["network"] = {"kind": "behaviour flow", "policy": {"flow_steps": 10**9}}
    _exported(policy__json=json.dumps(record).encode())[0](run)


Case = tuple[Callable[[Run], Any], Callable[[Run], Any]]
"""What spoils, and what reads."""


def _data(harm: Callable[[Path], Any]) -> Case:
    return lambda run: harm(run.data), lambda run: check_file(run.data)


def _state(content: bytes) -> Case:
    return lambda run: run.spoil("state.safetensors", content), Run.read_checkpoint


def _in_checkpoint(name: str, harm: Callable[[Path], Any]) -> Case:
    return lambda run: harm(run.newest / name), Run.read_checkpoint


def _config(harm: Callable[[Path], Any]) -> Case:
    return lambda run: harm(run.path / "config.json"), lambda run: read_config(run.path)


def _rows(harm: Callable[[Path], Any]) -> Case:
    return (
        lambda run: harm(run.path / "metrics.jsonl"),
        lambda run: read_rows(run.path / "metrics.jsonl"),
    )


def _watched(name: str, harm: Callable[[Path], Any]) -> Case:
    return lambda run: harm(run.path / name), lambda run: look(run.path)


def _written(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


_DEEP = b"[" * 10**6
CASES: dict[str, Case] = {
    "watching: timings without their figures": _watched("timings.jsonl", _written(b'{"step":1}\n')),
    "watching: timings of texts": _watched(
        "timings.jsonl", _written(b'{"step":1,"seconds":"a","updates_per_second":[]}\n' * 2)
    ),
    "watching: metrics that are texts": _watched(
        "metrics.jsonl", _written(b'{"step":1,"seed":0,"x":"text"}\n')
    ),
    "watching: a pipe in place of timings": _watched("timings.jsonl", _pipe),
    "watching: timings of a terabyte": _watched("timings.jsonl", _sparse),
    "npz: a pickle in place of the archive": _data(_written(_PICKLE)),
    "npz: a pickle in an entry": _data(lambda path: _archive(path, **{"actions.npy": _PICKLE})),
    "npz: an array of objects": _data(lambda path: _archive(path, **{"actions.npy": _objects()})),
    "npz: a bomb of 1.5 GB": _data(lambda path: _bomb(path, 1500)),
    "npz: a bomb of 200 MB": _data(lambda path: _bomb(path, 200)),
    "npz: entries that are the same bytes": _data(_overlapping),
    "npz: 30,000 entries": _data(_many_entries),
    "npz: a shape of 10¹² rows": _data(
        lambda path: _archive(path, **{"actions.npy": _npy("'<f4'", "(10**12, 1)")})
    ),
    "npz: a shape that lies": _data(
        lambda path: _archive(path, **{"actions.npy": _npy("'<f4'", "(1000000000000, 1)")})
    ),
    "npz: a negative shape": _data(
        lambda path: _archive(path, **{"actions.npy": _npy("'<f4'", "(-1, -4)", bytes(16))})
    ),
    "npz: code in a header": _data(
        lambda path: _archive(path, **{"actions.npy": _npy("__import__('os')", "(1,)")})
    ),
    "npz: a header of brackets": _data(
        lambda path: _archive(path, **{"actions.npy": _npy("'<f4'", "(" * 60_000)})
    ),
    "npz: names that lead outside": _data(
        lambda path: _archive(path, **{"../../trace": b"x", "actions.npy": b"x"})
    ),
    "npz: a terabyte of nothing": _data(_sparse),
    "npz: a link to /dev/zero": _data(lambda path: _linked(path, "/dev/zero")),
    "npz: a pipe": _data(_pipe),
    "npz: the name of a data set that leads outside": (
        lambda run: None,
        lambda run: dataset_files("../../etc/passwd-v0"),
    ),
    "json: deep settings beside a data set": (
        lambda run: run.data.with_suffix(".json").write_bytes(_DEEP),
        lambda run: describe(str(run.data)),
    ),
    "safetensors: a pickle": _state(_PICKLE),
    "safetensors: a header of 2⁶³ bytes": _state(_header({}, size=2**63)),
    "safetensors: a header longer than the file": _state(_header({}, size=2**27)),
    "safetensors: a shape of 2⁴⁰": _state(_header(_entry("F32", [2**40], [0, 2**42]))),
    "safetensors: a shape that overflows": _state(_header(_entry("F32", [2**62, 4], [0, 0]))),
    "safetensors: offsets that run backwards": _state(
        _header(_entry("F32", [1], [4, 0])) + bytes(4)
    ),
    "safetensors: objects": _state(_header(_entry("object", [1], [0, 8])) + bytes(8)),
    "safetensors: names that lead outside": _state(
        _header({"../../trace": _entry("F32", [1], [0, 4])["x"]}) + bytes(4)
    ),
    "safetensors: a terabyte of nothing": (_giant_state, Run.read_checkpoint),
    "safetensors: a link to /dev/zero": _in_checkpoint(
        "state.safetensors", lambda path: _linked(path, "/dev/zero")
    ),
    "json: a manifest of brackets": _in_checkpoint("manifest.json", _written(_DEEP)),
    "json: a manifest of a terabyte": _in_checkpoint("manifest.json", _sparse),
    "json: a manifest that is a pipe": _in_checkpoint("manifest.json", _pipe),
    "json: a manifest that names files outside": _in_checkpoint(
        "manifest.json", lambda path: _edited(path, files={"../../../data.npz": {"bytes": 1}})
    ),
    "json: a state.json of objects": (
        lambda run: run.spoil("state.json", b'{"format": 1, "step": 20, "details": {}, "arrays": '
                              b'{"x": {"shape": [1], "dtype": "O"}}}'),
        Run.read_checkpoint,
    ),
    "json: a config of brackets": _config(_written(_DEEP)),
    "json: a config with a number of 10⁶ digits": _config(_written(b"1" * 10**6)),
    "json: a config of a terabyte": _config(_sparse),
    "json: a config that names an unknown task": (
        lambda run: _edited(run.path / "config.json", task="../../../etc/passwd"),
        lambda run: dataset_files(str(read_config(run.path).task)),
    ),
    "json: versions that are no records": (
        lambda run: (run.path / "versions.json").write_bytes(_PICKLE),
        lambda run: read_versions(run.path),
    ),
    "jsonl: a pickle": _rows(_written(_PICKLE + b"\n")),
    "jsonl: a terabyte without a line end": _rows(_sparse),
    "jsonl: a line of brackets": _rows(_written(b'{"step": ' + _DEEP + b"\n")),
    "policy: a pickle as weights": _exported(weights__safetensors=_PICKLE),
    "policy: weights of a shape that lies": _exported(
        weights__safetensors=_header(_entry("F32", [2**40], [0, 4])) + bytes(4)
    ),
    "policy: a header of 2⁶³ bytes": _exported(weights__safetensors=_header({}, size=2**63)),
    "policy: code in place of the program": _exported(
        floq_network__py=b"import os; os.system('touch trace')", weights__safetensors=_header({})
    ),
    "policy: a record of brackets": _exported(policy__json=_DEEP),
    "policy: a flow of 10⁹ steps": (_long_flow, lambda run: load_policy(run.policy)),
    "policy: weights of a terabyte": _in_export("weights.safetensors", _sparse),
    "policy: weights that are a pipe": _in_export("weights.safetensors", _pipe),
    "policy: a manifest of brackets": _in_export("manifest.json", _written(_DEEP)),
    "policy: a manifest of a terabyte": _in_export("manifest.json", _sparse),
    "policy: a manifest that names files outside": _in_export(
        "manifest.json", lambda path: _edited(path, files={"../../data.npz": {"bytes": 1}})
    ),
}  # fmt: skip
