"""A page about a sweep, made from its table."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from floq.disk import json_bytes, output_file, replace_bytes, user_path
from floq.intervals import Interval
from floq.reports import page
from floq.reports.figures import to_svg
from floq.sweeps.comparison import (
    Cell,
    Improvement,
    Overall,
    cells_of,
    dataset_means,
    improvements,
    methods_of,
    overall,
    profiles,
)
from floq.sweeps.figures import Mark, interval_rows, profile_lines
from floq.sweeps.table import TABLE, SweepRow, read_table

_BOOTSTRAP_NOTE = (
    "Ranges are 95 % intervals by the stratified bootstrap: seeds are drawn anew within each task, "
    "tasks are not. With the few seeds that experiments have they are rather too narrow, and where "
    "a task has only one there is none."
)
_IMPROVEMENT_NOTE = (
    "How probably a run of the first method does better than one of the second, both on one random "
    "task that the two share; a draw counts a half. At 50 % neither does."
)
_PROFILE_NOTE = (
    "The share of runs that succeed more often than τ, each task counting the same. Where one line "
    "lies above another everywhere, its method is better however one weighs easy and hard tasks."
)
_PUBLISHED_NOTE = (
    "Published figures are of 3 seeds after 2 million updates, for “fql” in a sweep of 1 million "
    "after that many; they are those of the algorithm with its published settings, whatever "
    "settings vary here. A dataset has one for all its five tasks together."
)
_TASKS_NOTE = (
    "After the last update, never the best. Ranges are 95 % intervals of the mean: Student's over "
    "seeds, and never narrower than what the number of episodes allows. With one seed they say "
    "nothing about how training another one would end."
)
_SEARCH_NOTE = (
    "The best of many trials is flattered by luck: train it again with other seeds before it is "
    "compared with anything. Trials are in no other section."
)


def sweep_table(directories: Sequence[str | Path]) -> Path | None:
    """The table that is meant by a sweep's directory, or by the table itself.

    Args:
        directories: What is to be reported on.

    Returns:
        The table; None if none of these is a sweep.

    Raises:
        ValueError: If there is something else beside it.
    """
    for path in map(user_path, directories):
        table = path if path.suffix == ".csv" else path / TABLE
        if table.is_file():
            if len(directories) > 1:
                raise ValueError(f"{path} is a sweep, which has a page of its own: name it alone.")
            return table
    return None


def sweep_report(table: Path, *, output: str | Path | None = None) -> Path:
    """Writes a page about a sweep, and `summary.json` beside it.

    The page needs no network and no other file. Only finished rows count, and it says how many are
    missing.

    Args:
        table: The sweep's `table.csv`.
        output: The file to write; its folder is made if it is not there. By default `report.html`
            beside the table.

    Returns:
        The file.

    Raises:
        OSError: If the output is no file, or cannot be written.
        ValueError: If the table is not one.
    """
    path = output_file(output, table.with_name("report.html"))
    rows = read_table(table)
    if not rows:
        raise ValueError(f"{table} has no rows: run the sweep first, with `floq sweep`.")
    cells = cells_of(row for row in rows if row.trial is None)
    trials = cells_of(row for row in rows if row.trial is not None)
    name = f"Sweep {table.resolve().parent.name}"
    found, compared = overall(cells), improvements(cells)
    parts = [page.heading(name), *_headline(rows, cells, found)]
    if cells:
        parts += [
            _overall_section(found),
            _improvement_section(compared),
            _profile_section(cells),
            _dataset_section(cells),
            _task_section("Tasks", cells, _TASKS_NOTE),
        ]
    if trials:
        # Stable: of equal trials the earlier one comes first.
        trials.sort(key=lambda cell: -cell.interval.mean if cell.interval else float("inf"))
        trials.sort(key=lambda cell: (cell.task, cell.label))
        parts.append(_task_section("Searches", trials, _SEARCH_NOTE))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(
        path.with_name("summary.json"), json_bytes(_summary(rows, cells, found, compared))
    )
    replace_bytes(path, page.page(f"floq: {name}", parts))
    return path


def _headline(
    rows: Sequence[SweepRow], cells: Sequence[Cell], found: Sequence[Overall]
) -> Iterable[str]:
    if found:
        words = "; ".join(f"{each.method} {_words(each.interquartile)}" for each in found)
        yield page.paragraph(f"Interquartile mean of success: {words}.", kind="lead")
    steps = " and ".join(f"{each:,}" for each in sorted({row.steps for row in rows}))
    tasks = page.count(len({row.task for row in rows}), "task")
    seeds = page.count(len({row.seed for row in rows}), "seed")
    yield page.paragraph(f"{tasks}, {seeds}, {steps} updates of each.")
    standing = Counter(row.status for row in rows)
    finished = standing.pop("finished", 0)
    if standing:
        others = ", ".join(f"{count:,} {status}" for status, count in sorted(standing.items()))
        yield page.paragraph(
            f"{finished:,} of {page.count(len(rows), 'row')} are finished, and only these count "
            f"here; missing are {others}.",
            kind="missing",
        )
    without = sum(row.status == "finished" and row.figure is None for row in rows)
    if without:
        text = f"{page.count(without, 'finished row')} without an evaluation after the last update."
        yield page.paragraph(text, kind="missing")
    absent = set(methods_of(cells))
    absent = [each for each in dict.fromkeys(cell.method for cell in cells) if each not in absent]
    if absent:
        text = f"Without a success rate, and so in no comparison: {'; '.join(absent)}."
        yield page.paragraph(text, kind="missing")


def _overall_section(found: Sequence[Overall]) -> str:
    title = "Over all tasks"
    if not found:
        return page.section(title, _nothing_shared())
    marks = [
        Mark(row, each.method, interval, published)
        for row in ("interquartile mean", "mean")
        for each in found
        for interval, published in [
            (each.mean, each.published) if row == "mean" else (each.interquartile, None)
        ]
    ]
    header = ["method", "interquartile mean", "95 % interval", "mean", "95 % interval", "published"]
    lines = [
        [each.method, *_columns(each.interquartile), *_columns(each.mean), _percent(each.published)]
        for each in found
    ]
    note = f"Over the tasks on which every method has a finished seed. {_BOOTSTRAP_NOTE}"
    return page.section(
        title,
        page.paragraph(note, kind="note"),
        _picture(interval_rows(marks, label="success rate"), "interquartile means and means"),
        page.table(header, lines),
    )


def _improvement_section(found: Sequence[Improvement]) -> str:
    title = "Probability of improvement"
    if not found:
        text = "There are no two methods with a success rate to compare."
        return page.section(title, page.paragraph(text, kind="missing"))
    parts = [page.paragraph(_IMPROVEMENT_NOTE, kind="note")]
    marks = [
        Mark(f"{each.method} over {each.other}", "", each.probability)
        for each in found
        if each.probability is not None
    ]
    if marks:
        figure = interval_rows(marks, label="probability of improvement", level=0.5)
        parts.append(_picture(figure, "probabilities of improvement"))
        lines = [
            [each.method, each.other, str(each.tasks), *_columns(each.probability)]
            for each in found
            if each.probability is not None
        ]
        header = ["method", "over", "tasks", "probability", "95 % interval"]
        parts.append(page.table(header, lines))
    apart = [f"{each.method} and {each.other}" for each in found if each.probability is None]
    if apart:
        text = f"No task has finished seeds of both: {'; '.join(apart)}."
        parts.append(page.paragraph(text, kind="missing"))
    return page.section(title, *parts)


def _profile_section(cells: Sequence[Cell]) -> str:
    title, found = "Performance profiles", profiles(cells)
    if not found:
        return page.section(title, _nothing_shared())
    return page.section(
        title,
        page.paragraph(_PROFILE_NOTE, kind="note"),
        _picture(profile_lines(found), "share of runs above each success rate"),
    )


def _dataset_section(cells: Sequence[Cell]) -> str:
    title, found = "Datasets", dataset_means(cells)
    if not found:
        text = "No finished seed has a success rate."
        return page.section(title, page.paragraph(text, kind="missing"))
    marks = [Mark(each.dataset, each.method, each.mean, each.published) for each in found]
    header = ["dataset", "method", "tasks", "mean", "95 % interval", "published"]
    lines = [
        [
            each.dataset,
            each.method,
            f"{each.tasks} of {each.planned}",
            *_columns(each.mean),
            _percent(each.published),
        ]
        for each in found
    ]
    return page.section(
        title,
        page.paragraph(f"{_PUBLISHED_NOTE} {_BOOTSTRAP_NOTE}", kind="note"),
        _picture(interval_rows(marks, label="mean success rate"), "means of datasets"),
        page.table(header, lines),
    )


def _task_section(title: str, cells: Sequence[Cell], note: str) -> str:
    header = ["task", "method", "seeds", "result", "95 % interval", "published", "per seed"]
    header += ["episodes"]
    lines = []
    for cell in cells:
        result = ["–", ""]
        if cell.interval is not None:
            mean, low, high = cell.interval
            result = [f"{cell.figure} {page.figure(mean, cell.figure)}"]
            result += [page.span(low, high, cell.figure)]
        per_seed = ", ".join(page.figure(value, cell.figure) for value in cell.per_seed)
        seeds = f"{len(cell.seeds)} of {cell.planned}"
        published = _percent(cell.published)
        row = [cell.task, cell.method, seeds, *result, published, per_seed, str(cell.episodes)]
        lines.append(row)
    return page.section(title, page.paragraph(note, kind="note"), page.table(header, lines))


def _summary(
    rows: Sequence[SweepRow],
    cells: Sequence[Cell],
    found: Sequence[Overall],
    compared: Sequence[Improvement],
) -> dict[str, Any]:
    """What the page says, as a JSON-able dictionary."""
    tasks: dict[str, Any] = {}
    for cell in cells:
        if cell.interval is not None:
            tasks.setdefault(cell.task, {})[cell.method] = {
                cell.figure: cell.interval.mean,
                "interval": cell.interval.ends,
                "per_seed": list(cell.per_seed),
                "seeds": list(cell.seeds),
            }
    return {
        "rows": len(rows),
        "finished": sum(row.status == "finished" for row in rows),
        "tasks": tasks,
        "methods": {
            each.method: {
                "interquartile_mean": each.interquartile.mean,
                "interval": each.interquartile.ends,
                "mean": each.mean.mean,
            }
            for each in found
        },
        "improvement": [
            {
                "method": each.method,
                "over": each.other,
                "tasks": each.tasks,
                "probability": each.probability.mean,
                "interval": each.probability.ends,
            }
            for each in compared
            if each.probability is not None
        ],
    }


def _nothing_shared() -> str:
    text = "There is no task on which every method has a finished seed with a success rate."
    return page.paragraph(text, kind="missing")


def _picture(figure: Any, description: str) -> str:
    return page.image(to_svg(figure), description=description)


def _words(interval: Interval) -> str:
    figure, span = _columns(interval)
    return f"{figure} ({span})" if span else figure


def _columns(interval: Interval) -> list[str]:
    """The mean and its interval, as success rates."""
    return [page.figure(interval.mean, "success"), page.span(*interval[1:], "success")]


def _percent(share: float | None) -> str:
    return "–" if share is None else page.figure(share, "success")
