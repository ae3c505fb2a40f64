"""A report on runs: one page that holds everything it shows."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from floq.critics.flow import FlowCritic
from floq.disk import user_path
from floq.inspection import probe
from floq.recording import Recording, record
from floq.reports import figures, page
from floq.reports.readings import of_members
from floq.runs.directory import CONFIG, read_config, read_versions
from floq.runs.files import json_bytes, replace_bytes
from floq.runs.results import PolicyResult, metrics, results, summary, task_title, timing
from floq.runs.run import Run, load_run
from floq.settings import to_json
from floq.types import Critic

_ROLLOUT_SEED = 0
_FRAMES = 8

_FLOW_NOTE = (
    "Each curve carries one start, drawn from the noise interval at t = 0, to a sample of the "
    "return at t = 1. The states are spread over the rollout above, the actions are the policy's. "
    "The lower panels show what the curves differ from straight lines by: where they do, more "
    "integration steps give another answer; where all are straight, one step would do."
)
_VALUE_NOTE = (
    "V(s) is Q(s, a) averaged over actions of the final policy and over the critic's noise. The "
    "rollout was picked before anything was seen of it: the first seed's policy, episode 0 of "
    f"rollout seed {_ROLLOUT_SEED}."
)
_CURVES_NOTE = (
    "The line is the mean over seeds, thin lines are the seeds, and the band is a 95 % interval of "
    "the mean: Student's over seeds, and never narrower than what the number of episodes allows."
)


def report(
    directories: str | Path | Sequence[str | Path], *, output: str | Path | None = None
) -> Path:
    """Writes a page about one or several runs, and `summary.json` beside it.

    The page needs no network and no other file. Its pictures of rollouts and flows are those of
    the first run; what is not there yet, or cannot be drawn, is named in its place. The summary is
    `floq.runs.results.summary` of the run, or an object of these by name for several runs.

    Args:
        directories: The directory of a run, or several, or folders of such.
        output: The file to write; its folder is made if it is not there. By default `report.html`
            in the directory, or in the folder that holds all of them.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is no run in a directory.
        RuntimeError: If all checkpoints of a run are damaged.
        ValueError: If a file of a run is not sound, or no directory is given.
    """
    folders = [directories] if isinstance(directories, str | Path) else directories
    runs = _load(folders)
    first = next(iter(runs.values()))
    title = " and ".join(dict.fromkeys(task_title(run) for run in runs.values()))
    parts = [
        page.heading(title),
        *_headline(runs),
        _curves_section(runs),
        *_picture_sections(first),
        _metrics_section(runs),
        _results_section(runs),
        _settings_section(runs),
    ]
    summaries = {name: summary(run) for name, run in runs.items()}
    path = _place(folders) if output is None else user_path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    content: Any = summaries if len(runs) > 1 else summary(first)
    replace_bytes(path.with_name("summary.json"), json_bytes(content))
    replace_bytes(path, page.page(f"floq: {title}", parts))
    return path


def _place(directories: Sequence[str | Path]) -> Path:
    """Where a page about runs lies if nobody says."""
    return Path(os.path.commonpath([Path(one).absolute() for one in directories])) / "report.html"


def _load(directories: Sequence[str | Path]) -> dict[str, Run]:
    """The runs by name, in the order given."""
    folders = []
    for directory in map(user_path, directories):
        inner = [config.parent for config in sorted(directory.glob(f"*/{CONFIG}"))]
        folders += [directory] if (directory / CONFIG).exists() or not inner else inner
    if not folders:
        raise ValueError("No directory is given: name the runs to report on.")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return {name: _load_or_begun(folder) for name, folder in zip(names, folders, strict=True)}


def _load_or_begun(path: Path) -> Run:
    """The run; without a state if it has saved none yet."""
    config = read_config(path)
    try:
        return load_run(path)
    except FileNotFoundError:
        return Run(path, config, 0, None)


def _headline(runs: dict[str, Run]) -> Iterable[str]:
    for name, run in runs.items():
        prefix = f"{name}: " if len(runs) > 1 else ""
        last = [found[-1] for found in _ordered(run).values()]
        sentence = "No evaluation yet."
        if last:
            words = "; ".join(_in_words(result) for result in last)
            seeds = page.count(len(run.config.seeds), "seed")
            episodes = page.count(last[0].episodes, "episode")
            sentence = f"{words}, after {last[0].step:,} updates ({seeds}, {episodes} each)."
        yield page.paragraph(prefix + sentence, kind="lead")
        if run.step < run.config.steps:
            saved = f"{run.step:,} of {run.config.steps:,} updates are saved."
            yield page.paragraph(f"{prefix}This run is not finished: {saved}", kind="missing")
    note = "Ranges are 95 % intervals of the mean over seeds, at the last evaluation, not the best."
    if any(len(run.config.seeds) == 1 for run in runs.values()):
        note += " One seed says nothing about how training another one would end."
    yield page.paragraph(note)


def _in_words(result: PolicyResult) -> str:
    figure, interval = _figures_of(result)
    spread = f" ({interval})" if interval else ""
    if result.figure == "success":
        return f"{_policy_name(result.policy)} succeeds in {figure} of episodes{spread}"
    return f"{_policy_name(result.policy)} has a mean return of {figure}{spread}"


def _curves_section(runs: dict[str, Run]) -> str:
    title = "Learning curves"
    found = {name: _ordered(run) for name, run in runs.items()}
    listed = [result for own in found.values() for many in own.values() for result in many]
    parts = []
    for figure in dict.fromkeys(result.figure for result in listed):
        curves = [
            figures.Curve(
                " · ".join(([name] if len(runs) > 1 else []) + [_policy_name(policy)]),
                np.array([result.step for result in many]),
                np.array([result.per_seed for result in many]).T,
                band=np.array([result.interval[1:] for result in many]).T,
                dashed=policy == "bc",
            )
            for name, own in found.items()
            for policy, many in own.items()
            if many[0].figure == figure
        ]
        parts.append(
            page.image(
                figures.to_svg(figures.learning_curves(curves, name=figure)),
                description=f"{figure} of each policy against updates",
            )
        )
    missing = [name for name, own in found.items() if not own]
    if missing:
        reason = f"{_which(missing, runs)} no evaluation yet, or no environment to evaluate in."
        parts.append(page.paragraph(reason, kind="missing"))
    return page.section(title, page.paragraph(_CURVES_NOTE, kind="note"), *parts)


def _metrics_section(runs: dict[str, Run]) -> str:
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
    note = (
        "Means over the updates since the point before, on a log scale where all values are "
        "positive. The target of the critic moves as it learns: its losses need not fall."
    )
    parts = [page.paragraph(note, kind="note")]
    if panels:
        picture = figures.to_svg(figures.metric_panels(panels))
        parts.append(page.image(picture, description="losses and values against updates"))
    missing = [name for name, (steps, _) in found.items() if not len(steps)]
    if missing:
        reason = f"{_which(missing, runs)} logged no metrics yet."
        parts.append(page.paragraph(reason, kind="missing"))
    return page.section("Losses and values", *parts)


def _picture_sections(run: Run) -> list[str]:
    """What shows only with a policy, or with a reason why it does not."""
    titles = ("The learned value", "A rollout", "The flow, from noise to value")
    recording, reason = _rollout(run)
    if recording is None:
        return [page.section(title, page.paragraph(reason, kind="missing")) for title in titles]
    critic = probe.judge_of(run, run.config.seeds[0])
    frames = _frames_section(titles[1], recording)
    if critic is None:
        missing = page.paragraph(f"{run.config.algorithm} has no critic.", kind="missing")
        return [page.section(titles[0], missing), frames, page.section(titles[2], missing)]
    value = _value_section(titles[0], run, critic, recording)
    if not isinstance(critic, FlowCritic):
        missing = page.paragraph(f"A {type(critic).__name__} is no flow.", kind="missing")
        return [value, frames, page.section(titles[2], missing)]
    return [value, frames, _flow_section(titles[2], run, critic, recording)]


def _flow_section(title: str, run: Run, critic: FlowCritic, recording: Recording) -> str:
    view = probe.rollout_flow_view(critic, run.policy, recording)
    steps = page.count(critic.config.integration_steps, "integration step")
    note = (
        f"{_FLOW_NOTE} Here there are {steps}, and Q(s, a) is the mean over starts of the members' "
        f"{of_members(critic.config)}. The command floq inspect looks further into it."
    )
    return page.section(
        title,
        page.paragraph(note, kind="note"),
        page.image(
            figures.to_svg(figures.flow_trajectories(view)),
            description="paths of the flow from noise to value, one panel for each state",
        ),
    )


def _rollout(run: Run) -> tuple[Recording | None, str]:
    """A rollout of the final policy, or why there is none."""
    environment = run.config.environment
    if environment is None:
        return None, "The run has no environment: there is no rollout to show."
    if run.state is None:
        return None, "The run has no checkpoint yet: there is no policy to show."
    try:
        return record(run.policy, environment, seed=_ROLLOUT_SEED, max_frames=2 * _FRAMES), ""
    except ValueError as error:
        return None, f"The policy cannot be played here: {error}"


def _value_section(title: str, run: Run, critic: Critic, recording: Recording) -> str:
    environment = run.config.environment
    assert environment is not None
    parts = [page.paragraph(_VALUE_NOTE, kind="note")]
    maze = probe.maze_view(critic, run.policy, recording, environment, seed=_ROLLOUT_SEED)
    if maze is not None:
        note = "The maze from above, with the body everywhere in its first posture."
        if maze.arrows is not None:
            note += " Arrows are the policy's mean first action, the longest being full speed."
        picture = figures.to_svg(figures.value_map(maze))
        words = "learned value over the maze"
        parts.append(page.image(picture, description=words, shrinks=True))
        parts.append(page.paragraph(note))
    view = probe.rollout_view(critic, run.policy, recording, discount=run.config.config.discount)
    picture = figures.to_svg(figures.value_along(view))
    parts.append(page.image(picture, description="learned value along the rollout"))
    if view.outcomes is None:
        parts.append(
            page.paragraph(
                "The rollout did not end in success, so that the return that would have followed "
                "is not known."
            )
        )
    return page.section(title, *parts)


def _frames_section(title: str, recording: Recording) -> str:
    length = len(recording.actions)
    outcome = {True: ", with success", False: ", without success", None: ""}[recording.success]
    total = page.number(float(recording.rewards.sum()))
    text = (
        f"{page.count(length, 'step')}{outcome}; return {total}. It is the rollout whose value is "
        "shown above."
    )
    parts = [page.paragraph(text, kind="note")]
    frames = recording.frames
    if frames is None:
        parts.append(page.paragraph(f"No pictures: {recording.no_frames}.", kind="missing"))
    else:
        chosen = np.unique(np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int))
        pictures = [
            (figures.to_png(frames[index]), f"step {index * recording.frame_stride:,}")
            for index in chosen
        ]
        parts.append(page.strip(pictures))
    return page.section(title, *parts)


def _results_section(runs: dict[str, Run]) -> str:
    header = ["run"] if len(runs) > 1 else []
    header += ["policy", "updates", "result", "95 % interval", "per seed", "episodes"]
    header += ["return", "length"]
    rows = []
    for name, run in runs.items():
        for policy, found in _ordered(run).items():
            last = found[-1]
            figure, interval = _figures_of(last)
            per_seed = ", ".join(page.figure(value, last.figure) for value in last.per_seed)
            cells = [name] if len(runs) > 1 else []
            cells += [_policy_name(policy), f"{last.step:,}", f"{last.figure} {figure}"]
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
        updates = f"{run.step:,} of {run.config.steps:,}"
        speed.append(
            [name, updates, _duration(seconds), "–" if rate is None else page.number(rate)]
        )
    settings = [_flat(to_json(run.config)) for run in runs.values()]
    # The newest entry: a run that went on elsewhere has several.
    versions = [_flat(read_versions(run.directory)[-1]) for run in runs.values()]
    note = "Bold where the runs differ." if len(runs) > 1 else ""
    return page.section(
        "Settings, versions and speed",
        page.table(["run", "updates", "time in all", "updates a second (of all seeds)"], speed),
        page.paragraph(note),
        page.details("Settings", _side_by_side("setting", runs, settings)),
        page.details("Versions and machine", _side_by_side("part", runs, versions)),
    )


def _side_by_side(what: str, runs: Iterable[str], columns: Sequence[dict[str, str]]) -> str:
    """A table with a row for each name and a column for each run."""
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [[name, *(column.get(name, "–") for column in columns)] for name in names]
    return page.table([what, *runs], rows, mark=True)


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names with their values in words."""
    if isinstance(value, dict):
        inner = [
            _flat(item, f"{prefix}.{name}" if prefix else name) for name, item in value.items()
        ]
        return {name: text for part in inner for name, text in part.items()}
    if isinstance(value, list):
        return {prefix: ", ".join(map(str, value))}
    return {prefix: "–" if value is None or value == "" else str(value)}


def _ordered(run: Run) -> dict[str, list[PolicyResult]]:
    """The evaluations by policy, the algorithm's own first."""
    found = results(run)
    return dict(sorted(found.items(), key=lambda item: item[0] != run.config.algorithm))


def _which(names: Sequence[str], runs: dict[str, Run]) -> str:
    return "The run has" if len(runs) == 1 else f"{', '.join(names)}:"


def _policy_name(policy: str) -> str:
    return "behaviour cloning" if policy == "bc" else policy


def _figures_of(result: PolicyResult) -> tuple[str, str]:
    """The figure and its interval in words; an interval that nothing bounds is empty."""
    mean, low, high = result.interval
    return page.figure(mean, result.figure), page.span(low, high, result.figure)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
