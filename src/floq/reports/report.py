"""A report on runs: one page that holds everything it shows."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from floq.disk import json_bytes, output_file, replace_bytes, user_path
from floq.reports import figures, page
from floq.reports.rollout import rollout_sections
from floq.runs.directory import CONFIG, read_config, read_versions
from floq.runs.results import (
    PolicyResult,
    has_last_rows,
    hours_at,
    metrics,
    results,
    summary,
    task_title,
    timing,
    unit_of,
)
from floq.runs.run import Run, load_run
from floq.settings import to_json

_CURVES_NOTE = (
    "The line is the mean over seeds, thin lines are the seeds, and the band is a 95 % interval of "
    "the mean: Student's over seeds, and never narrower than what the number of episodes allows."
)
_HOURS_NOTE = "Hours hold everything, evaluations too, and all seeds of a run together."


def report(
    directories: str | Path | Sequence[str | Path], *, output: str | Path | None = None
) -> Path:
    """Writes a page about one or several runs, and `summary.json` beside it.

    The page needs no network and no other file. Its pictures of rollouts and flows are those of
    the first run; what is not there yet, or cannot be drawn, is named in its place. The summary is
    `floq.runs.results.summary` of a run that is named alone, and else an object of these by name.

    Args:
        directories: The directory of a run, or several, or folders of such, of which a run that
            cannot be read is left out, with a warning and a line of the page.
        output: The file to write; its folder is made if it is not there. By default `report.html`
            in the directory, or in the folder that holds all of them.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is no run in a directory.
        OSError: If the output is no file, or cannot be written.
        RuntimeError: If all checkpoints of a run are damaged.
        ValueError: If a file of a run is not sound, or no directory is given.
    """
    if isinstance(directories, str | Path) or not isinstance(directories, Sequence):
        directories = [directories]
    runs, left_out = _load(directories)
    path = output_file(output, _place(directories))
    first = next(iter(runs.values()))
    title = " and ".join(dict.fromkeys(task_title(run) for run in runs.values()))
    parts = [
        page.heading(title),
        *_headline(runs),
        *(page.paragraph(sentence, kind="missing") for sentence in left_out),
        _curves_section(runs),
        *rollout_sections(first),
        _metrics_section(runs),
        _results_section(runs),
        _settings_section(runs),
    ]
    summaries = {name: summary(run) for name, run in runs.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    is_one = len(directories) == 1 and first.directory == user_path(directories[0])
    content: Any = summary(first) if is_one else summaries
    replace_bytes(path.with_name("summary.json"), json_bytes(content))
    replace_bytes(path, page.page(f"floq: {title}", parts))
    return path


def _place(directories: Sequence[str | Path]) -> Path:
    """Where a page about runs lies if nobody says."""
    places = [user_path(one).absolute() for one in directories]
    return Path(os.path.commonpath(places)) / "report.html"


def _load(directories: Sequence[str | Path]) -> tuple[dict[str, Run], list[str]]:
    """The runs by name, in the order given, and a sentence for each that is left out."""
    runs: dict[Path, Run] = {}
    left_out: list[str] = []
    for directory in map(user_path, directories):
        inner = [config.parent for config in sorted(directory.glob(f"*/{CONFIG}"))]
        is_named = (directory / CONFIG).exists() or not inner
        for folder in [directory] if is_named else inner:
            try:
                run = load_or_begun(folder)
                # What the page reads of it later must be sound, too.
                summary(run)
                metrics(run)
                read_versions(folder)
            except (OSError, RuntimeError, ValueError) as error:
                # Beside it lie others, which need no plugin that is missing, and are not damaged.
                if is_named:
                    raise
                left_out.append(f"{folder} is left out: {error}")
                warnings.warn(left_out[-1], UserWarning, stacklevel=3)
            else:
                runs[folder] = run
    if not runs:
        raise ValueError("No directory with a sound run is given: name the runs to report on.")
    names = [folder.resolve().name for folder in runs]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in runs]
    return dict(zip(names, runs.values(), strict=True)), left_out


def load_or_begun(path: Path) -> Run:
    """The run; without a state if it has saved none yet."""
    config = read_config(path)
    try:
        return load_run(path)
    except FileNotFoundError:
        return Run(path, config, 0, None)


def _headline(runs: dict[str, Run]) -> Iterable[str]:
    for name, run in runs.items():
        prefix = f"{name}: " if len(runs) > 1 else ""
        last = [found[-1] for found in ordered(run).values()]
        sentence = "No evaluation yet."
        if last:
            words = "; ".join(in_words(result) for result in last)
            seeds = page.count(len(run.config.seeds), "seed")
            episodes = page.count(last[0].episodes, "episode")
            done = f"{last[0].step:,} {unit_of(run)}"
            sentence = f"{words}, after {done} ({seeds}, {episodes} each)."
        yield page.paragraph(prefix + sentence, kind="lead")
        if run.step < run.config.total_steps:
            saved = f"{run.step:,} of {run.config.total_steps:,} {unit_of(run)} are saved."
            yield page.paragraph(f"{prefix}This run is not finished: {saved}", kind="missing")
        elif not has_last_rows(run.directory, run.config):
            lacking = "rows of its last step are missing, such as those of its last evaluation."
            yield page.paragraph(f"{prefix}This run is not finished: {lacking}", kind="missing")
    note = "Ranges are 95 % intervals of the mean over seeds, at the last evaluation, not the best."
    if any(len(run.config.seeds) == 1 for run in runs.values()):
        note += " One seed says nothing about how training another one would end."
    yield page.paragraph(note)


def in_words(result: PolicyResult) -> str:
    """A result as a sentence."""
    figure, interval = figures_of(result)
    spread = f" ({interval})" if interval else ""
    if result.figure == "success":
        return f"{policy_name(result.policy)} succeeds in {figure} of episodes{spread}"
    return f"{policy_name(result.policy)} has a mean return of {figure}{spread}"


def _curves_section(runs: dict[str, Run]) -> str:
    parts = [
        page.image(figures.to_svg(figure), description=words)
        for figure, words in curve_figures(runs)
    ]
    missing = [name for name, run in runs.items() if not results(run)]
    if missing:
        reason = f"{_which(missing, runs)} no evaluation yet, or no environment to evaluate in."
        parts.append(page.paragraph(reason, kind="missing"))
    note = f"{_CURVES_NOTE} {_HOURS_NOTE}" if len(runs) > 1 else _CURVES_NOTE
    return page.section("Learning curves", page.paragraph(note, kind="note"), *parts)


def curve_figures(runs: dict[str, Run]) -> Iterator[tuple[Any, str]]:
    """The learning curves of runs by name, over their steps; over hours, too, if there are several.

    Yields:
        Each figure, and what it is in words.
    """
    found = {name: ordered(run) for name, run in runs.items()}
    listed = [result for own in found.values() for many in own.values() for result in many]
    for kind in dict.fromkeys(result.figure for result in listed):
        curves = {
            (name, policy): _curve(
                " · ".join(([name] if len(runs) > 1 else []) + [policy_name(policy)]), many
            )
            for name, own in found.items()
            for policy, many in own.items()
            if many[0].figure == kind
        }
        axes = {unit_of(*runs.values()): list(curves.values())}
        if len(runs) > 1:
            timed = [
                curve._replace(steps=hours)
                for (name, _), curve in curves.items()
                if (hours := hours_at(runs[name], curve.steps)) is not None
            ]
            axes |= {"hours": timed} if timed else {}
        for axis, drawn in axes.items():
            words = f"{kind} of each policy against {axis}"
            yield figures.learning_curves(drawn, name=kind, axis=axis), words


def _curve(label: str, many: Sequence[PolicyResult]) -> figures.Curve:
    return figures.Curve(
        label,
        np.array([result.step for result in many]),
        np.array([result.per_seed for result in many]).T,
        band=np.array([result.interval[1:] for result in many]).T,
        dashed=many[0].policy == "bc",
    )


def _metrics_section(runs: dict[str, Run]) -> str:
    note = (
        "Means over the updates since the point before, on a log scale where all values are "
        "positive. The target of the critic moves as it learns: its losses need not fall."
    )
    parts = [page.paragraph(note, kind="note")]
    figure = metrics_figure(runs)
    if figure is not None:
        picture = figures.to_svg(figure)
        parts.append(
            page.image(picture, description=f"losses and values against {unit_of(*runs.values())}")
        )
    missing = [name for name, run in runs.items() if not len(metrics(run)[0])]
    if missing:
        reason = f"{_which(missing, runs)} logged no metrics yet."
        parts.append(page.paragraph(reason, kind="missing"))
    return page.section("Losses and values", *parts)


def metrics_figure(runs: dict[str, Run]) -> Any:
    """A panel for each metric of runs by name; None if none was logged."""
    found = {name: metrics(run) for name, run in runs.items()}
    names = dict.fromkeys(metric for _, values in found.values() for metric in values)
    panels = [
        (
            metric,
            [
                figures.Curve(name, steps, values[metric])
                for name, (steps, values) in found.items()
                if metric in values
            ],
        )
        for metric in names
    ]
    return figures.metric_panels(panels, axis=unit_of(*runs.values())) if panels else None


def _results_section(runs: dict[str, Run]) -> str:
    header = ["run"] if len(runs) > 1 else []
    header += ["policy", unit_of(*runs.values()), "result", "95 % interval", "per seed", "episodes"]
    header += ["return", "length"]
    rows = []
    for name, run in runs.items():
        for policy, found in ordered(run).items():
            last = found[-1]
            figure, interval = figures_of(last)
            per_seed = ", ".join(page.figure(value, last.figure) for value in last.per_seed)
            cells = [name] if len(runs) > 1 else []
            cells += [policy_name(policy), f"{last.step:,}", f"{last.figure} {figure}"]
            cells += [interval, per_seed, f"{len(last.per_seed)} × {last.episodes}"]
            rows.append([*cells, page.number(last.mean_return), page.number(last.mean_length)])
    note = "At the last evaluation of each run. The seeds stand in the order of the settings below."
    if not rows:
        return page.section("Results", page.paragraph("No evaluation yet.", kind="missing"))
    return page.section("Results", page.paragraph(note, kind="note"), page.table(header, rows))


def _settings_section(runs: dict[str, Run]) -> str:
    speed = []
    for name, run in runs.items():
        seconds, rate = timing(run)
        done = f"{run.step:,} of {run.config.total_steps:,}"
        speed.append([name, done, duration(seconds), "–" if rate is None else page.number(rate)])
    settings = _rows([flat(to_json(run.config)) for run in runs.values()])
    # The newest entry: a run that went on elsewhere has several.
    versions = _rows([flat(read_versions(run.directory)[-1]) for run in runs.values()])
    parts = [
        page.table(
            ["run", unit_of(*runs.values()), "time in all", "updates a second (of all seeds)"],
            speed,
        )
    ]
    if len(runs) > 1:
        different = [row for row in settings + versions if len(set(row[1:])) > 1]
        said = "What the runs differ in:" if different else "All settings and versions are alike."
        parts.append(page.paragraph(said))
        parts += [page.table(["setting", *runs], different)] if different else []
    return page.section(
        "Settings, versions and speed",
        *parts,
        page.details("All settings", page.table(["setting", *runs], settings, mark=True)),
        page.details("Versions and machine", page.table(["part", *runs], versions, mark=True)),
    )


def _rows(columns: Sequence[dict[str, str]]) -> list[list[str]]:
    """A row for each name, with a cell for each column."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [[name, *(column.get(name, "–") for column in columns)] for name in names]


def flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names with their values in words."""
    if isinstance(value, dict):
        inner = [flat(item, f"{prefix}.{name}" if prefix else name) for name, item in value.items()]
        return {name: text for part in inner for name, text in part.items()}
    if isinstance(value, list):
        return {prefix: ", ".join(map(str, value))}
    return {prefix: "–" if value is None or value == "" else str(value)}


def ordered(run: Run) -> dict[str, list[PolicyResult]]:
    """The evaluations by policy, the algorithm's own first."""
    found = results(run)
    return dict(sorted(found.items(), key=lambda item: item[0] != run.config.algorithm))


def _which(names: Sequence[str], runs: dict[str, Run]) -> str:
    return "The run has" if len(runs) == 1 else f"{', '.join(names)}:"


def policy_name(policy: str) -> str:
    """What a policy is called."""
    return "behaviour cloning" if policy == "bc" else policy


def figures_of(result: PolicyResult) -> tuple[str, str]:
    """The figure and its interval in words; an interval that nothing bounds is empty."""
    mean, low, high = result.interval
    return page.figure(mean, result.figure), page.span(low, high, result.figure)


def duration(seconds: float | None) -> str:
    """A time in words."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
