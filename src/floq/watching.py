"""Watching a run while it trains: in the terminal, or on a page that refreshes itself."""

import hmac
import http.server
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from floq.progress import format_rate
from floq.runs.directory import TIMINGS, read_config
from floq.runs.results import has_last_rows, metrics, results, sound_rows, task_title
from floq.runs.run import Run

_ROWS, _COLUMNS = 10, 60
_RECENT = 10
"""Log rows that the pace is taken from: evaluations count in it, old hours do not."""


class State(NamedTuple):
    """How far a run is.

    Attributes:
        run: The run, without a state.
        step: Its last logged step.
        rate: Updates a second at the last log; 0 before the first.
        seconds: That it has taken up to there.
        left: Seconds that it still takes at its recent pace, evaluations and all; None before there
            are two logs.
        figure: "success" or "return".
        curve: The figure at each evaluation, means over seeds, by step.
        losses: The last value of each metric, mean over seeds.
        finished: Whether the last step is logged, and all its rows are there.
    """

    run: Run
    step: int
    rate: float
    seconds: float
    left: float | None
    figure: str
    curve: dict[int, float]
    losses: dict[str, float]
    finished: bool


def look(directory: Path) -> State:
    """How far a run is, by what its files hold now.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If a file of it is not sound.
    """
    config = read_config(directory)
    step, rate, seconds, left = 0, 0.0, 0.0, None
    with sound_rows(directory / TIMINGS) as timings:
        recent = timings[-_RECENT:]
        if recent:
            step, rate = recent[-1]["step"], float(recent[-1]["updates_per_second"])
            seconds = float(recent[-1]["seconds"])
        if len(recent) > 1 and step > recent[0]["step"]:
            pace = (seconds - recent[0]["seconds"]) / (step - recent[0]["step"])
            left = max(config.total_steps - step, 0) * pace
    run = Run(directory, config, step, None)
    own = results(run).get(config.algorithm, [])
    _, values = metrics(run)
    return State(
        run,
        step,
        rate,
        seconds,
        left,
        own[-1].figure if own else "success",
        {one.step: one.interval.mean for one in own},
        {name: float(found[:, -1].mean()) for name, found in values.items()},
        step >= config.total_steps and has_last_rows(directory, config),
    )


def watch(directory: Path, *, interval: float = 2.0) -> None:
    """Shows a run in the terminal until it is finished; once, where there is no terminal.

    Args:
        directory: The run.
        interval: Seconds between two looks.

    Raises:
        FileNotFoundError: If there is no run.
        ValueError: If a file of it is not sound.
    """
    console, state = Console(), look(directory)
    if not console.is_terminal:
        console.print(_drawn(state))
        return
    with Live(_drawn(state), console=console, auto_refresh=False) as live:
        while not state.finished:
            time.sleep(interval)
            state = look(directory)
            live.update(_drawn(state), refresh=True)


def _drawn(state: State) -> RenderableType:
    config = state.run.config
    losses = Table.grid(padding=(0, 2))
    for name, value in state.losses.items():
        losses.add_row(Text(name, style="dim"), f"{value:.4g}")
    parts: list[RenderableType] = [
        Text(f"{task_title(state.run)} · {config.algorithm}", style="bold"),
        Text(progress_of(state)),
    ]
    if state.curve:
        last = [*state.curve.values()][-1]
        parts.append(Text(f"\n{state.figure} {last:,.2f} at step {[*state.curve][-1]:,}"))
        parts.append(Text("\n".join(plot(state.curve, config.total_steps))))
    else:
        parts.append(Text("\nno evaluation yet", style="dim"))
    return Group(*parts, Text(""), losses)


def progress_of(state: State) -> str:
    """Step, rate and time left, in words."""
    config = state.run.config
    if not state.step:
        said = f"no row yet of {config.total_steps:,} steps"
        if config.online is None:
            first = min(config.schedule.log_interval, config.steps)
            return f"{said}: the first comes at step {first:,}"
        # A row needs an update, and online none comes before the warm-up is over.
        warmup = config.online.warmup
        later = f": online the first comes after a warm-up of {warmup:,} steps"
        return said + later if warmup else said
    parts = [f"step {state.step:,} of {config.total_steps:,}"]
    if state.rate:
        parts.append(f"{format_rate(state.rate)} updates/s")
    parts.append(f"{_minutes(state.seconds)} so far")
    if state.finished:
        parts.append("done")
    elif state.step >= config.total_steps:
        parts.append("the last evaluation is to come")
    elif state.left is not None:
        parts.append(f"{_minutes(state.left)} left")
    return ", ".join(parts)


def _minutes(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def plot(curve: dict[int, float], last: int) -> list[str]:
    """A curve in letters, a line of text each.

    Args:
        curve: The values by step.
        last: The step at the right end.
    """
    low, high = min(0.0, *curve.values()), max(curve.values())
    if low >= 0 and high <= 1:
        high = 1.0
    cells = np.full((_ROWS, _COLUMNS), " ")
    across = np.array([*curve]) / max(last, 1) * (_COLUMNS - 1)
    down = (np.array([*curve.values()]) - low) / max(high - low, 1e-9) * (_ROWS - 1)
    columns = np.arange(int(across[0]), int(across[-1]) + 1)
    for column, row in zip(columns, np.interp(columns, across, down), strict=True):
        cells[_ROWS - 1 - round(float(row)), column] = "·"
    for column, row in zip(across, down, strict=True):
        cells[_ROWS - 1 - round(float(row)), int(column)] = "●"
    names = [f"{high:,.4g}", *[""] * (_ROWS - 2), f"{low:,.4g}"]
    width = max(map(len, names))
    lines = [f"{name:>{width}} │{''.join(row)}" for name, row in zip(names, cells, strict=True)]
    return [*lines, f"{'':{width}} └{'─' * _COLUMNS}", f"{'':{width}}  0{last:>{_COLUMNS - 1},}"]


def live_page(directory: Path, *, interval: float = 5.0) -> bytes:
    """A page about a run as it stands, which asks for itself again.

    Args:
        directory: The run.
        interval: Seconds until then.

    Raises:
        MissingExtraError: If what draws is not installed.
        ValueError: If a file of the run is not sound.
    """
    from floq.reports import figures, page
    from floq.reports.report import curve_figures, metrics_figure

    state = look(directory)
    name = directory.resolve().name
    runs = {name: state.run}
    task = task_title(state.run)
    # A sweep's runs are called by their task already.
    parts = [page.heading(name if name.startswith(task) else f"{task}: {name}")]
    if state.curve:
        last = page.figure([*state.curve.values()][-1], state.figure)
        parts.append(page.paragraph(f"{state.figure} {last}", kind="lead"))
    parts.append(page.paragraph(progress_of(state)))
    curves = [
        page.image(figures.to_svg(figure), description=words)
        for figure, words in curve_figures(runs)
    ]
    parts.append(
        page.section(
            "Learning curve", *(curves or [page.paragraph("No evaluation yet.", kind="missing")])
        )
    )
    panels = metrics_figure(runs)
    if panels is not None:
        picture = page.image(figures.to_svg(panels), description="losses and values")
        parts.append(page.section("Losses and values", picture))
    return page.page(f"floq: {name}", parts, refresh=None if state.finished else interval)


@contextmanager
def serving(directory: Path, *, port: int = 0, interval: float = 5.0) -> Iterator[str]:
    """Shows the page on this machine alone, to whoever knows its address.

    Args:
        directory: The run.
        port: Where to listen; 0 takes a free one.
        interval: Seconds between two looks.

    Yields:
        The page's address, with a random token.

    Raises:
        FileNotFoundError: If there is no run.
        OSError: If the port is taken.
    """
    live_page(directory)  # What is wrong is said before anybody is told an address.
    token, lock, kept = secrets.token_urlsafe(24), threading.Lock(), [0.0, b""]

    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers for the page alone."""

        timeout = 10.0

        def log_message(self, format: str, *_: object) -> None:
            """Says nothing: the token would stand in the log."""

        def do_GET(self) -> None:
            """The page, or that there is none."""
            if not hmac.compare_digest(self.path.encode(), f"/{token}".encode()):
                self.send_error(404)
                return
            with lock:
                # However many ask, a page is drawn once in a while.
                if time.monotonic() - kept[0] > interval / 2:
                    try:
                        kept[:] = [time.monotonic(), live_page(directory, interval=interval)]
                    except (OSError, ValueError) as error:
                        self.send_error(503, explain=str(error))
                        return
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(kept[1])))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(kept[1])

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/{token}"
        finally:
            server.shutdown()
