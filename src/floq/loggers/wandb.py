"""Weights & Biases."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from floq.loggers.logger import Logger

_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-([A-Za-z0-9_]{1,64})")


class Wandb(Logger):
    """Logs to W&B, into project floq: `WANDB_MODE=offline` keeps it in `RUN/wandb/`.

    Every start of a run has the id of the first, which the names of the folders there tell, so that
    a resume goes on in the same curve. Steps that W&B has already are not sent again: a resume
    computes the same figures.
    """

    def start(self, directory: Path, config: Mapping[str, Any]) -> None:
        """Begins a run of W&B, or goes on with it."""
        import wandb  # pyright: ignore[reportMissingImports]

        folder = directory / "wandb"
        names = sorted(path.name for path in folder.glob("*run-*")) if folder.exists() else []
        ids = [found[1] for name in names if (found := _FOLDER.fullmatch(name))]
        directory.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            project="floq",
            name=directory.resolve().name,
            dir=str(directory),
            id=ids[0] if ids else None,
            resume="allow" if ids else None,
            config=dict(config),
            settings=wandb.Settings(console="off", disable_git=True, save_code=False, silent=True),
        )
        self._known = self._run.step if self._run.resumed else -1

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Sends figures."""
        if step >= self._known:
            self._run.log(dict(row), step=step)

    def show(self, step: int, name: str, frames: np.ndarray) -> None:
        """Sends a picture, or a video as an animated GIF."""
        import wandb  # pyright: ignore[reportMissingImports]

        if len(frames) == 1:
            shown: Any = wandb.Image(frames[0])
        else:
            from floq.reports.video import encoded

            shown = wandb.Video(io.BytesIO(encoded(frames, "gif")), format="gif")
        self._run.log({name: shown}, step=max(step, self._known))

    def close(self) -> None:
        """Sends what is left."""
        self._run.finish()
