import io
import pathlib
import re
import struct
import zipfile

import numpy as np
import pytest

from floq.data import npz
from floq.data.npz import read_arrays


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def write_archive(path, *, compression=zipfile.ZIP_DEFLATED, **entries: bytes):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)


def header_bytes(text: str, *, version: bytes = b"\x01\x00") -> bytes:
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text.encode()


def refused(path, *words):
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as caught:
        read_arrays(path, required=["a"])
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, save):
    """Files of numpy come back bit for bit; optional arrays that are absent are left out."""
    path = tmp_path / "x.npz"
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True]), "c": np.arange(3)}
    save(path, **arrays)
    found = read_arrays(path, required=["a", "b"], optional=["c", "d"])
    assert list(found) == ["a", "b", "c"]
    for name, values in found.items():
        np.testing.assert_array_equal(values, arrays[name], strict=True)


def test_missing_arrays_are_named(tmp_path):
    """A missing array is named, with those that the file holds."""
    path = tmp_path / "x.npz"
    np.savez(path, b=np.zeros(1), c=np.zeros(1))
    refused(path, "no array named a; it holds b, c")
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_arrays(tmp_path / "nothing.npz", required=["a"])


class Harmful:
    """An object whose unpickling leaves a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return pathlib.Path.touch, (self.trace,)


def test_pickles_are_refused_without_being_run(tmp_path):
    """An array of objects is refused, and the code that its pickle holds does not run."""
    path, trace = tmp_path / "x.npz", tmp_path / "trace"
    write_archive(path, a=npy_bytes(np.array([Harmful(trace)], dtype=object)))
    with np.load(path, allow_pickle=True) as file:
        assert file["a"] is not None
    assert trace.exists()
    trace.unlink()
    refused(path, "a.npy holds pickled Python objects")
    assert not trace.exists()


@pytest.mark.parametrize(
    "shape", ["(1000000000000,)", "(1,)", "(-2, -1)", "(2, 2, 2)", "(99999999, 99999999)"]
)
def test_header_that_lies_about_its_shape(tmp_path, shape):
    """A declared shape that is not that of the entry's bytes is refused, however large."""
    path = tmp_path / "x.npz"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"
    write_archive(path, a=header_bytes(header) + bytes(8))
    refused(path, "a.npy declares the shape", "damaged")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array at all",
        header_bytes("{'descr': '<f4', 'fortran_order': False}\n"),
        header_bytes("(" * 9000),
        header_bytes("__import__('os').getcwd()\n"),
        header_bytes("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1,), }\n"),
        # The header's own length field of version 2 could ask for gigabytes.
        header_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", version=b"\2\0"),
    ],
)
def test_broken_headers(tmp_path, content):
    """An entry without a plain header is refused by its name."""
    path = tmp_path / "x.npz"
    write_archive(path, a=content)
    refused(path, "a.npy cannot be read")


def test_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    """An archive that declares more than the free memory is refused from its headers alone."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros(100_000), b=np.zeros(100_000))
    monkeypatch.setattr(npz, "available_memory", lambda: 1_000_000)
    monkeypatch.setattr(npz.Member, "read", lambda *_: pytest.fail("the array was unpacked"))
    with pytest.raises(ValueError, match=r"declares 0.0 GB of data.* memory free"):
        read_arrays(path, required=["a", "b"])


def test_entry_longer_than_its_directory_says(tmp_path):
    """Data beyond the size in the archive's directory is never handed out."""
    path = tmp_path / "x.npz"
    content = npy_bytes(np.zeros(1000, dtype=np.float32))
    write_archive(path, a=content)
    data = bytearray(path.read_bytes())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<I", len(content) - 400)
    path.write_bytes(data)
    refused(path, "a.npy", "damaged")


def test_flipped_bits_are_found(tmp_path):
    """A single changed bit of an uncompressed array is found by its checksum."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(1000))
    data = bytearray(path.read_bytes())
    data[4000] ^= 1
    path.write_bytes(data)
    refused(path, "a.npy cannot be read", "CRC")


def test_files_that_are_no_archives(tmp_path):
    """Text, an empty file and a truncated archive are refused as such."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(1000))
    whole = path.read_bytes()
    for content in (b"", b"<html>not found</html>", whole[: len(whole) // 2]):
        path.write_bytes(content)
        refused(path, "not an npz file, or cut short", "fetch or generate it again")


def test_damaged_compression(tmp_path):
    """A compressed entry whose stream is broken is refused by its name."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).normal(size=1000))
    data = bytearray(path.read_bytes())
    data[1000:1200] = bytes(200)
    path.write_bytes(data)
    refused(path, "a.npy cannot be read")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods(tmp_path, method):
    """Methods that numpy never writes are refused before anything is unpacked."""
    path = tmp_path / "x.npz"
    write_archive(path, compression=method, a=npy_bytes(np.zeros(10)))
    refused(path, f"compressed by method {method}", "savez_compressed")


def test_text_and_structures_are_refused(tmp_path):
    """Arrays of text or records are refused by their type."""
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array(["text"]))
    refused(path, "values of type <U4")
    np.savez(path, a=np.zeros(2, dtype=[("x", "f4")]))
    refused(path, "values of type [('x', '<f4')]")
