"""A LeRobot set with two cameras, written by pyarrow and PyAV as LeRobot's own are laid out."""

import json
from pathlib import Path
from typing import Any

import numpy as np

RATE = 10
CAMERAS = ("observation.images.front", "observation.images.wrist")


def shade(row: int, camera: int) -> int:
    """What all pixels of a frame are."""
    return 20 + 10 * row + 5 * camera


def write_video(
    path: Path, shades: Any, *, size: tuple[int, int], codec: str = "libx264", **options: str
) -> None:
    """A video of plain pictures."""
    import av  # pyright: ignore[reportMissingImports]

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options={"crf": "10"} | options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for one in shades:
            picture = np.full((*size, 3), one, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_set(
    folder: Path,
    *,
    lengths: tuple[int, ...] = (4, 6, 3),
    size: tuple[int, int] = (32, 48),
    cut: int = 2,
    codec: str = "libx264",
    **changes: Any,
) -> Path:
    """Episodes of which the first `cut` are in the first video of each camera, the others after."""
    import pyarrow as pa  # pyright: ignore[reportMissingImports]
    import pyarrow.parquet as pq  # pyright: ignore[reportMissingImports]

    for inner in ("meta/episodes/chunk-000", "data/chunk-000"):
        (folder / inner).mkdir(parents=True)
    total = sum(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    frame = np.concatenate([np.arange(length) for length in lengths])
    states = np.stack([np.arange(total), -np.arange(total)], axis=1).astype(np.float32)
    lists = lambda values: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 2)
    rows = {
        "observation.state": lists(states),
        "action": lists(np.full((total, 2), 0.5, np.float32)),
        "timestamp": (frame / RATE).astype(np.float32),
        "frame_index": frame,
        "episode_index": episode,
    }
    pq.write_table(pa.table(rows), folder / "data" / "chunk-000" / "file-000.parquet")
    edges = np.cumsum((0, *lengths))
    file = (np.arange(len(lengths)) >= cut).astype(int)
    begins = (edges[:-1] - edges[cut] * file) / RATE
    table: dict[str, Any] = {"episode_index": np.arange(len(lengths)), "length": list(lengths)}
    for number, camera in enumerate(CAMERAS):
        table[f"videos/{camera}/chunk_index"] = np.zeros(len(lengths), int)
        table[f"videos/{camera}/file_index"] = file
        table[f"videos/{camera}/from_timestamp"] = begins
        table[f"videos/{camera}/to_timestamp"] = begins + np.array(lengths) / RATE
        for index, own in enumerate((range(edges[cut]), range(edges[cut], total))):
            if own:
                place = folder / "videos" / camera / "chunk-000" / f"file-{index:03d}.mp4"
                shades = [shade(row, number) for row in own]
                write_video(place, shades, size=size, codec=codec)
    pq.write_table(pa.table(table), folder / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    }
    names = ["height", "width", "channels"]
    for camera in CAMERAS:
        features[camera] = {"dtype": "video", "shape": [*size, 3], "names": names}
    _write_info(
        folder, total=total, total_episodes=len(lengths), **{"features": features} | changes
    )
    return folder


def _write_info(folder: Path, total: int, **changes: Any) -> None:
    info = {
        "codebase_version": "v3.0",
        "fps": RATE,
        "total_frames": total,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    (folder / "meta" / "info.json").write_text(json.dumps(info | changes))
