"""TensorBoard: event files in the run's folder, written by tensorboardX."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from floq.loggers.logger import Logger


class TensorBoard(Logger):
    """Writes `RUN/tensorboard/`: `tensorboard --logdir runs` shows all runs."""

    def start(self, directory: Path, config: Mapping[str, Any]) -> None:
        """Begins an event file, and hides what older ones hold: it all comes again."""
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]

        folder = directory / "tensorboard"
        older = len(list(folder.glob("events.*"))) if folder.exists() else 0
        # Names hold whole seconds: a second start within one would overwrite the first.
        suffix = f".{older:06d}"
        purged = 0 if older else None
        self._writer = SummaryWriter(str(folder), purge_step=purged, filename_suffix=suffix)
        text = json.dumps(config, indent=2)
        self._writer.add_text("config", f"```json\n{text}\n```", 0)

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Writes the figures through, so that a kill costs none."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def show(self, step: int, name: str, frames: np.ndarray) -> None:
        """Writes a picture; of a video the frames, as an animated GIF, which TensorBoard plays."""
        if len(frames) == 1:
            self._writer.add_image(name, frames[0], step, dataformats="HWC")
        else:
            from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore

            from floq.reports.video import encoded

            _, height, width, colours = frames.shape
            video = Summary.Image(height=height, width=width, colorspace=colours)
            video.encoded_image_string = encoded(frames, "gif")
            summary = Summary(value=[Summary.Value(tag=name, image=video)])
            self._writer._get_file_writer().add_summary(summary, step)
        self._writer.flush()

    def close(self) -> None:
        """Ends the file."""
        self._writer.close()
