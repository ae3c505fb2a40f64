"""A LeRobot set whose tables hold pictures, and pictures as PNG and JPEG."""

import io
import json
import struct
import zlib

import numpy as np
import pytest

from tests.data.formats.test_lerobot import columns, write

SIZE = (6, 8)
FRONT = "observation.images.front"


def picture(seed, size=SIZE, mode="RGB"):
    """Pixels at random."""
    channels = {"RGB": (3,), "RGBA": (4,), "L": ()}[mode]
    return np.random.default_rng(seed).integers(0, 256, (*size, *channels), np.uint8)


def written(pixels, kind="PNG", **options):
    """The bytes of a picture."""
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    image.fromarray(pixels).save(buffer, format=kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def header(height, width):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))


def write_pictures(folder, cells, **changes):
    """A set whose table holds pictures, as LeRobot's holds them, with the file's name beside."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    write(folder, columns(), cut=9)
    file, empty = (
        folder / "data" / "chunk-000" / f"file-{number:03d}.parquet" for number in (0, 1)
    )
    empty.unlink()
    shown = pa.array([{"bytes": cell, "path": f"{row}.png"} for row, cell in enumerate(cells)])
    pq.write_table(pq.read_table(file).append_column(FRONT, shown), file)
    info = folder / "meta" / "info.json"
    described = json.loads(info.read_text())
    described["features"][FRONT] = {"dtype": "image", "shape": [*SIZE, 3], "names": None} | changes
    info.write_text(json.dumps(described))
    return folder
