"""Finished cells of a study, a file each, so that none is ever computed twice."""

import math
import re
from pathlib import Path
from typing import Any

from floq.disk import json_bytes, read_json, replace_bytes
from floq.runs.versions import differences, versions


class Cells:
    """The cells in a folder: one for each variant and seed."""

    def __init__(self, directory: Path):
        """Takes a folder, which need not exist.

        Args:
            directory: The study's folder.
        """
        self._directory = directory

    def read(self, variant: str, seed: int, settings: Any) -> dict[str, Any] | None:
        """A finished cell; None if it is not there.

        Raises:
            ValueError: If it was computed with other settings, or is no cell.
        """
        path = self._path(variant, seed)
        if not path.exists():
            return None
        cell = read_json(path)
        if not isinstance(cell, dict) or "settings" not in cell:
            raise ValueError(f"{path} is no cell of a study: remove it to compute it anew.")
        if cell["settings"] != settings:
            raise ValueError(
                f"{path} was computed with other settings than those of {variant} now: give "
                "another directory, or remove the file to compute it anew."
            )
        return cell

    def write(
        self, variant: str, seed: int, settings: Any, figures: dict[str, Any]
    ) -> dict[str, Any]:
        """Adds a finished cell, and gives it back; a crash leaves either all of it or nothing.

        Where training diverged, a number that is not finite becomes None.
        """
        path = self._path(variant, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        cell = {"variant": variant, "seed": seed, **_finite(figures), "settings": settings}
        replace_bytes(path, json_bytes(cell))
        return cell

    def record_versions(self) -> None:
        """Adds what cells are computed with from now on, if it is something new."""
        path = self._directory / "versions.json"
        records = read_json(path) if path.exists() else []
        now = versions()
        if not records or differences(records[-1], now):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_bytes(path, json_bytes([*records, now]))

    def _path(self, variant: str, seed: int) -> Path:
        return self._directory / "cells" / folder_name(variant) / f"seed_{seed:04d}.json"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def folder_name(variant: str) -> str:
    """A variant's name as that of a folder, such as `flow-K=4` for `flow, K=4`."""
    return re.sub(r"[^\w.=×]+", "-", variant)
