"""Videos: frames as an animated picture, or as MP4."""

import io
from typing import Literal

import numpy as np

from floq.extras import require_extra

FRAMES_PER_SECOND = 20
Format = Literal["webp", "gif", "mp4"]


def encoded(frames: np.ndarray, kind: Format) -> bytes:
    """A video of frames.

    Args:
        frames: uint8 [frames, height, width, 3].
        kind: "webp" and "gif" are played by whatever shows pictures, again and again.

    Raises:
        MissingExtraError: If the packages for it are not installed.
    """
    if kind == "mp4":
        return _mp4(frames)
    require_extra("plot")
    from PIL import Image

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
    import av

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
