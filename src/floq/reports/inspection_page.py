"""The page about the inside of a critic, from what was found there."""

from typing import Any, NamedTuple

import numpy as np

from floq.algorithms import rebrac
from floq.algorithms.implicit import ImplicitConfig
from floq.critics.flow import FlowCritic
from floq.inspection.flow_shape import FlowShape
from floq.inspection.integration_steps import StepReadings
from floq.inspection.probe import FlowView
from floq.inspection.returns import Calibration
from floq.reports import figures, page
from floq.reports import inspection_figures as panels
from floq.reports.readings import in_words, of_members, readings_table
from floq.runs.results import metrics, task_title, unit_of
from floq.runs.run import Run

NORM = "feature_norm"
"""How the names of the metrics end that are norms of a critic's features."""


class Findings(NamedTuple):
    """All that the page shows; None where there is nothing to show.

    Attributes:
        run: The run.
        seed: Its seed that was looked into.
        critic: The critic of that seed.
        episodes: Episodes that were played, or would have been.
        no_data: Why the run's data is not here; empty if it is.
        source: "policy" or "data", whose returns the values are compared with; or why with none.
        values: Values beside these returns.
        paths: The flow of a few pairs (s, a).
        shape: The flow of many pairs: of the data, or else of the episodes.
        readings: The critic at other integration steps.
    """

    run: Run
    seed: int
    critic: Any
    episodes: int
    no_data: str
    source: str
    values: Calibration | None = None
    paths: FlowView | None = None
    shape: FlowShape | None = None
    readings: StepReadings | None = None


_HORIZON_NOTE = (
    "A return is the discounted sum of the rewards that followed, over so many steps that what "
    "comes later weighs less than 1 %; episodes are played on past their time limit for it, of "
    "which values know nothing."
)


def inspection_page(found: Findings) -> bytes:
    """The whole document."""
    title = f"Inside the critic of {task_title(found.run)}"
    parts = [page.heading(title), *_head(found), _numbers_section(found), _returns_section(found)]
    if found.paths is not None and found.shape is not None:
        parts += [
            _paths_section(found.paths, found),
            _curvature_section(found.shape),
            _spread_section(found.shape, found),
            _damping_section(found.shape),
        ]
    if found.readings is not None:
        parts.append(_steps_section(found.readings, found))
    return page.page(f"floq: {title}", [*parts, _norms_section(found.run)])


def _head(found: Findings) -> list[str]:
    run, kind = found.run, type(found.critic).__name__
    lead = (
        f"{run.config.algorithm}, seed {found.seed} (of {', '.join(map(str, run.config.seeds))}), "
        f"after {run.step:,} {unit_of(run)}; its critic is a {kind}."
    )
    parts = [page.paragraph(lead, kind="lead")]
    if not isinstance(found.critic, FlowCritic):
        reason = (
            f"A {kind} is no flow: it has no trajectories, curvature, spread over starts, ∂v/∂z or "
            "integration steps to show."
        )
        parts.append(page.paragraph(reason, kind="missing"))
    elif found.shape is None:
        reason = f"No pair (s, a) is at hand to follow the flow of. {found.no_data}"
        parts.append(page.paragraph(reason, kind="missing"))
    return parts


def _numbers_section(found: Findings) -> str:
    rows = []
    if found.values is not None:
        rank, bias, error = found.values.spearman, found.values.bias, found.values.error
        words = "undefined: all returns are equal" if rank is None else in_words(rank)
        rows.append(["rank correlation of Q and return (Spearman)", words, "near 1"])
        rows.append(["mean of Q − return", in_words(bias), "near 0"])
        rows.append(["root mean square of Q − return", in_words(error), "small beside the range"])
    if found.shape is not None:
        shape = found.shape
        bent = page.number(float(shape.curvature.mean()))
        bent = f"{bent} (ends lie {page.number(shape.travelled)} from starts)"
        spread = page.number(float(np.median(shape.spread)))
        spread = f"{spread} (that of z₀: {page.number(shape.noise_spread)})"
        rows.append(["mean distance from straight lines", bent, "above 0"])
        rows.append(["standard deviation of ψ(1, z₀) over z₀", spread, "far below that of z₀"])
        typical, kept = page.number(shape.typical_damping), page.number(shape.kept_damping)
        rows.append(["c in ∂v/∂z = −c / (1 − t), median", typical, "above 0, up to 1"])
        rows.append(["c that 90 % of the points keep to", kept, "above 0"])
    if not rows:
        return page.section("In numbers", page.paragraph("Nothing to measure.", kind="missing"))
    note = "In units of return where nothing else is said; ranges are 95 % intervals over episodes."
    table = page.table(["measure", "here", "healthy"], rows)
    return page.section("In numbers", page.paragraph(note, kind="note"), table)


def _returns_section(found: Findings) -> str:
    title = "Values against the returns that followed"
    if found.values is None:
        return page.section(title, page.paragraph(found.source, kind="missing"))
    decisions, values = len(found.values.values), found.values
    many = f"{page.count(decisions, 'decision')} in {page.count(values.episodes, 'episode')}"
    parts = []
    if found.source == "policy":
        note = f"Each point is one of {many} of the policy. {_HORIZON_NOTE}"
        parts.append(page.paragraph(note, kind="note"))
        parts.append(page.paragraph(whose_values(found.run.config.config)))
    else:
        note = f"Each point is one of {many} of the data. {_HORIZON_NOTE.split(';')[0]}."
        caveat = (
            "There is no environment to play in, so these are returns of whoever collected the "
            "data, while Q is the value of the learned policy: a right Q lies above them wherever "
            "the policy is better. Read the order and not the height."
        )
        parts += [page.paragraph(note, kind="note"), page.paragraph(caveat, kind="missing")]
    parts.append(
        _pair(
            (
                panels.values_and_returns(values),
                "values against returns, a point for each decision",
            ),
            (panels.calibration(values), "mean return of groups of decisions of similar value"),
        )
    )
    if values.spearman is None:
        reason = "All returns are equal, or all values are: there is no order to compare."
        parts.append(page.paragraph(reason, kind="missing"))
    healthy = (
        "points along the dashed line, a rank correlation near 1, and intervals that reach the "
        "line. Below the line, values promise more than came."
    )
    return page.section(title, *parts, _healthy(healthy))


def whose_values(config: Any) -> str:
    """Where the critic's values are not quite those of the policy that plays: why."""
    if isinstance(config, ImplicitConfig):
        return (
            "The critic learned from the data's actions alone, by expectiles: its values are those "
            "of nearly the best of these actions, and not those of the policy that plays."
        )
    if isinstance(config, rebrac.Config):
        return (
            "The critic's targets were lowered where the policy leaves the data's actions, so "
            "values below the returns are meant."
        )
    acting, learning = (getattr(config, f"{of}candidates", 0) for of in ("", "target_"))
    if acting and learning:
        return (
            f"The policy acts by the best of {acting} candidates, and the critic learned the "
            f"values of acting by the best of {learning}: nearly those of the policy that plays."
        )
    if acting:
        return (
            "The policy acts by the best of several candidates, but the critic learned the values "
            "of the one-step policy: returns above the values are what choosing wins."
        )
    if learning:
        return (
            "The one-step policy acts, but the critic learned the values of acting by the best of "
            "several candidates: returns below the values are what not choosing loses."
        )
    return "The critic learned the values of the policy that plays."


def _paths_section(view: FlowView, found: Findings) -> str:
    steps = page.count(found.critic.config.integration_steps, "integration step")
    note = (
        f"z(t) from several starts z₀, for three pairs (s, a) {_of_pairs(found)}, whose Q is among "
        f"the lowest, in the middle and among the highest. The critic takes {steps}. Below: what "
        "the same curves differ from the straight lines between their ends by."
    )
    healthy = (
        "the curves of one pair meet in its value from all starts and members, and the values of "
        "the three pairs differ."
    )
    return page.section(
        "Trajectories, from noise to value",
        page.paragraph(note, kind="note"),
        page.image(
            figures.to_svg(figures.flow_trajectories(view)),
            description="trajectories of the flow for three pairs, above their bends",
        ),
        _healthy(healthy),
    )


def _curvature_section(shape: FlowShape) -> str:
    note = (
        f"Over {page.count(len(shape.samples), 'pair')} and {shape.samples.shape[1]} starts. Lines "
        "are medians, bands hold the middle 80 % of pairs and starts. The straight line is the one "
        "between the curve's own ends, so one step of Euler shows no curve at all."
    )
    healthy = (
        "not 0. Where the flow is straight, one step carries it as well as many, and more steps "
        "bring nothing: a wider noise interval bends it (arXiv 2509.06863)."
    )
    return page.section(
        "Curvature",
        page.paragraph(note, kind="note"),
        _pair(
            (panels.deviation_over_time(shape), "distance from the straight line over time"),
            (panels.curvature(shape), "histogram of the mean distance of pairs"),
        ),
        _healthy(healthy),
    )


def _spread_section(shape: FlowShape, found: Findings) -> str:
    config = found.critic.config
    note = (
        "How far apart the same pair's ends lie when only the start changes: left for the critic, "
        f"which takes the {of_members(config)} over its members, right for each "
        "member."
    )
    healthy = (
        "far to the left of the dashed line, which is the spread of the starts: the flow forgets "
        "where it began."
    )
    if getattr(config, "backup", "expected") == "distributional":
        healthy = (
            "as wide as the returns of a pair really vary: this critic was trained with the "
            "distributional backup, by which the starts stand for samples of the return."
        )
    return page.section(
        "Spread of the end over starts",
        page.paragraph(note, kind="note"),
        _pair(
            (panels.spread(shape), "histogram of the critic's spread over starts"),
            (panels.member_spread(shape), "histogram of each member's spread over starts"),
        ),
        _healthy(healthy),
    )


def _damping_section(shape: FlowShape) -> str:
    bound = "No c above 0 holds for 90 % of them, so no region is shaded"
    if shape.kept_damping > 0:
        kept = page.number(shape.kept_damping)
        bound = f"90 % of them lie in the shaded region, of c = {kept}"
    bound += f"; the median is c = {page.number(shape.typical_damping)}."
    note = (
        "∂v/∂z along the trajectories, at the times at which the critic reads its field. Where "
        "∂v/∂z ≤ −c / (1 − t), errors of early steps shrink to a share of order K⁻ᶜ "
        f"(arXiv 2603.04333). {bound} The dashed line, c = 1, is the field of a target that never "
        "varies."
    )
    healthy = (
        "below 0 from the first step on, and at a level c well above 0 on the right. At 0 the "
        "field does not read z and early errors stay; above 0 they grow."
    )
    return page.section(
        "Damping of errors",
        page.paragraph(note, kind="note"),
        _pair(
            (panels.slopes(shape), "∂v/∂z over time with the region of the bound"),
            (panels.damping(shape), "the constant c over time"),
        ),
        _healthy(healthy),
    )


def _steps_section(readings: StepReadings, found: Findings) -> str:
    note = (
        "The trained critic read with other numbers of integration steps, on the same decisions "
        "as above. Blue is how much farther its values are from the returns than with the K of "
        "training; dashed is what they still differ from those of the largest K by."
    )
    shown: list[tuple[figures.Figure, str]] = [
        (panels.change_over_steps(readings), "change of the error of the values over K")
    ]
    parts = []
    results = [one.result for one in readings.readings if one.result is not None]
    if readings.acting and results:
        shown.append((panels.result_over_steps(readings), f"{readings.figure} over K"))
        parts.append(
            page.paragraph(
                "The policy acts by what the flow says, so K also changes what it does: "
                f"{page.count(readings.episodes, 'episode')} at each K."
            )
        )
    elif not readings.acting:
        parts.append(
            page.paragraph(
                "This policy does not read the flow as it acts: another K changes the values "
                "alone, and never its success."
            )
        )
    healthy = (
        "blue falls with K or has settled, and the dashed line is near 0 before the largest K."
    )
    return page.section(
        "The same critic at other K",
        page.paragraph(note, kind="note"),
        _pair(*shown),
        *parts,
        page.table(*readings_table(readings)),
        _healthy(healthy),
    )


def _norms_section(run: Run) -> str:
    title = "Feature norms over training"
    steps, values = metrics(run)
    shown = [
        (name, [figures.Curve(name, steps, own)])
        for name, own in values.items()
        if name.endswith("feature_norm")
    ]
    if not shown:
        reason = "The run logged no feature norms."
        return page.section(title, page.paragraph(reason, kind="missing"))
    note = (
        "Mean length of the last hidden layer's features over the updates since the point before; "
        "thin lines are the run's seeds. A flow's are taken where it starts."
    )
    healthy = (
        "level once the values have settled. A norm that keeps growing goes with lost plasticity: "
        "the last layers can no longer follow new targets (arXiv 2603.04333)."
    )
    picture = figures.to_svg(figures.metric_panels(shown, axis=unit_of(run)))
    return page.section(
        title,
        page.paragraph(note, kind="note"),
        page.image(picture, description=f"norms of the critics' features against {unit_of(run)}"),
        _healthy(healthy),
    )


def _pair(*shown: tuple[figures.Figure, str]) -> str:
    return page.pair(*((figures.to_svg(figure), words) for figure, words in shown))


def _healthy(text: str) -> str:
    return page.paragraph(f"Healthy: {text}", kind="healthy")


def _of_pairs(found: Findings) -> str:
    return "of the policy's episodes" if found.no_data else "of the data"
