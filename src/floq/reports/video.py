"""Videos: episodes side by side, and frames as an animated picture or as MP4."""

import io
from collections.abc import Sequence

import numpy as np

from floq.extras import drawing, require_extra
from floq.recording import Recording

with drawing():
    from PIL import Image, ImageDraw

FRAMES_PER_SECOND = 20
_WIDTH, _GAP = 240, 6
"""Pixels of an episode, and between two."""
FORMATS = ("webp", "gif", "mp4")


def side_by_side(played: Sequence[Recording], values: Sequence[np.ndarray] | None) -> np.ndarray:
    """Episodes beside each other in step, each with its value below if there are any.

    An episode that is over stays at its last picture.

    Args:
        played: The episodes, with frames.
        values: V(s) of each at each of its steps, [length]; None without a critic.

    Returns:
        The video, uint8 [frames, height, width, 3].
    """
    stride = max(one.frame_stride for one in played)
    ends = [len(one.actions) for one in played]
    count = -(-max(ends) // stride) + 1
    low, high = (0.0, 0.0)
    if values is not None:
        low, high = min(map(np.min, values)), max(map(np.max, values))
    columns = []
    for index, (one, end) in enumerate(zip(played, ends, strict=True)):
        frames = one.frames
        assert frames is not None
        column = []
        for step in (min(number * stride, end) for number in range(count)):
            outcome = "  success" if one.success and step == end else ""
            picture = _fitted(frames[min(step // one.frame_stride, len(frames) - 1)])
            panel = _panel(None if values is None else values[index], step, max(ends), (low, high))
            words = f"episode {index}   step {step:,}{outcome}"
            column.append(np.concatenate([picture, _worded(panel, words)]))
        columns.append(np.stack(column))
    gap = np.full((count, columns[0].shape[1], _GAP, 3), 255, np.uint8)
    parts = [part for column in columns for part in (gap, column)][1:]
    return np.concatenate(parts, axis=2)


def _fitted(frame: np.ndarray) -> np.ndarray:
    """A picture as wide as a column."""
    height = max(round(frame.shape[0] * _WIDTH / frame.shape[1]), 1)
    return np.asarray(Image.fromarray(frame).resize((_WIDTH, height), Image.Resampling.LANCZOS))


def _panel(
    values: np.ndarray | None, step: int, longest: int, scale: tuple[float, float]
) -> Image.Image:
    """The value of an episode: what was, what comes in grey, and where it is."""
    text, height = 18, 18 if values is None else 78
    picture = Image.new("RGB", (_WIDTH, height), "white")
    if values is None:
        return picture
    low, high = scale
    rows = text + 4 + (high - values) / max(high - low, 1e-9) * (height - text - 10)
    points = list(zip(4 + np.arange(len(values)) * (_WIDTH - 8) / longest, rows, strict=True))
    pencil = ImageDraw.Draw(picture)
    pencil.line(points, fill="#c8ccd1", width=2)
    pencil.line(points[: step + 1], fill="#0072B2", width=2)
    across, down = points[min(step, len(points) - 1)]
    pencil.ellipse((across - 3, down - 3, across + 3, down + 3), fill="#0072B2")
    return picture


def _worded(panel: Image.Image, words: str) -> np.ndarray:
    ImageDraw.Draw(panel).text((4, 3), words, fill="#333333")
    return np.asarray(panel)


def encoded(frames: np.ndarray, kind: str) -> bytes:
    """A video of frames.

    Args:
        frames: uint8 [frames, height, width, 3].
        kind: One of `FORMATS`; what shows pictures plays "webp" and "gif", again and again.

    Raises:
        MissingExtraError: If the packages for it are not installed.
    """
    if kind == "mp4":
        return _mp4(frames)
    pictures = [Image.fromarray(frame) for frame in frames]
    settings = {"quality": 80, "method": 4} if kind == "webp" else {}
    with io.BytesIO() as file:
        pictures[0].save(
            file,
            kind,
            save_all=True,
            append_images=pictures[1:],
            duration=1000 // FRAMES_PER_SECOND,
            loop=0,
            **settings,
        )
        return file.getvalue()


def _mp4(frames: np.ndarray) -> bytes:
    require_extra("video")
    import av  # pyright: ignore[reportMissingImports]

    # The usual colours of H.264 are stored for two by two pixels.
    height, width = (size - size % 2 for size in frames.shape[1:3])
    with io.BytesIO() as file:
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(
                    np.ascontiguousarray(frame[:height, :width]), format="rgb24"
                )
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
        return file.getvalue()
