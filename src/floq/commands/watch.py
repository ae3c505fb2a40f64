"""`floq watch`: how a run is doing."""

import dataclasses
import threading
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class Watch:
    """Show how a run is doing while it trains: its curve, losses, rate and time left.

    Attributes:
        directory: The run.
        page: Show a page that refreshes itself, for this machine alone, until Ctrl-C.
        port: Where the page is; a free one by default.
        interval: Seconds between two looks.
    """

    directory: tyro.conf.Positional[Path]
    page: bool = False
    port: int = 0
    interval: float = 2.0

    def run(self) -> int:
        """Shows it."""
        from floq.watching import serving, watch

        if not 0.1 <= self.interval <= 3600:
            raise ValueError(f"interval is {self.interval}: give 0.1 to 3600 seconds.")
        if not 0 <= self.port < 2**16:
            raise ValueError(f"port is {self.port}: give one below 65536, or 0 for a free one.")
        if not self.page:
            watch(self.directory, interval=self.interval)
            return 0
        with serving(self.directory, port=self.port, interval=self.interval) as address:
            print(f"{address} shows {self.directory} until Ctrl-C.", flush=True)
            threading.Event().wait()
        return 0
