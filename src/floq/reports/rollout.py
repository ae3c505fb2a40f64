"""Rollouts in a report: the learned value, the flow, and the episodes themselves, as a video."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from floq.critics.flow import FlowCritic
from floq.disk import output_file, replace_bytes, user_path
from floq.extras import require_extra
from floq.inspection import probe
from floq.recording import Recording, record_episodes
from floq.reports import figures, page
from floq.reports.readings import of_members
from floq.reports.video import FORMATS, encoded, side_by_side
from floq.runs.results import results
from floq.runs.run import Run, load_run
from floq.types import Critic

ROLLOUT_SEED = 0
_EPISODES = 1
_FRAMES = 8
_VIDEO_FRAMES = 32
_VIDEO_POINTS = 64
_MOST_EPISODES = 16

_FLOW_NOTE = (
    "Each curve carries one start, drawn from the noise interval at t = 0, to a sample of the "
    "return at t = 1. The states are spread over the rollout above, the actions are the policy's. "
    "The lower panels show what the curves differ from straight lines by: where they do, more "
    "integration steps give another answer; where all are straight, one step would do."
)
_VALUE_NOTE = (
    "V(s) is Q(s, a) averaged over actions of the final policy and over the critic's noise. The "
    "rollout was picked before anything was seen of it: the first seed's policy, episode 0 of "
    f"rollout seed {ROLLOUT_SEED}."
)


def play(
    run: Run, episodes: int, *, seed: int = ROLLOUT_SEED, policy_seed: int | None = None
) -> list[Recording]:
    """Episodes of the final policy, without pictures where none can be rendered.

    Args:
        run: The run.
        episodes: How many.
        seed: Seed of the episodes.
        policy_seed: Which of the run's seeds acts; the first by default.

    Raises:
        ValueError: If there is no environment or policy, or the episodes cannot be played here.
    """
    environment = run.config.environment
    if environment is None:
        reason = (
            "The run has no environment: there is no rollout to show. In Python, floq.record plays "
            "its policy in one that is given"
        )
        if run.config.action_bounds is not None:
            # One that is only named acts between its own bounds, at another scale than the data.
            low, high = (str([*bound]) for bound in run.config.action_bounds)
            reason += f", such as floq.make_env(NAME, action_low={low}, action_high={high})"
        raise ValueError(f"{reason}.")
    if run.state is None:
        raise ValueError("The run has no checkpoint yet: there is no policy to show.")
    policy = run.policy if policy_seed is None else run.policy_of(policy_seed)
    evaluated = results(run).get(run.config.algorithm)
    return record_episodes(
        policy,
        environment,
        seed=seed,
        episodes=range(episodes),
        max_frames=_VIDEO_FRAMES,
        expected=evaluated[-1].mean_length if evaluated else 0.0,
    )


def film(
    run: Run,
    played: Sequence[Recording],
    *,
    policy_seed: int | None = None,
    views: Sequence[probe.RolloutView] = (),
) -> np.ndarray:
    """Episodes side by side with the learned value below, uint8 [frames, height, width, 3].

    Args:
        run: The run.
        played: The episodes, with frames.
        policy_seed: Which of the run's seeds acted; the first by default.
        views: The learned value along each, if somebody has looked at it already.
    """
    own = run.config.seeds[0] if policy_seed is None else policy_seed
    critic, values = probe.judge_of(run, own), None
    if critic is not None:
        discount = run.config.config.discount
        views = views or [
            # A strip of the film shows no more of them.
            probe.rollout_view(
                critic, run.policy_of(own), one, discount=discount, points=_VIDEO_POINTS
            )
            for one in played
        ]
        values = [
            np.interp(np.arange(len(one.actions)), view.steps, view.values)
            for one, view in zip(played, views, strict=True)
        ]
    return side_by_side(played, values)


def rollout_video(
    directory: str | Path,
    output: str | Path | None = None,
    *,
    episodes: int = 4,
    seed: int = ROLLOUT_SEED,
    policy_seed: int | None = None,
) -> Path:
    """Writes a video of a run's policy: episodes side by side, with the learned value below.

    Args:
        directory: The run.
        output: The file, whose name ends in .webp, .gif or .mp4; by default `rollout.webp` in the
            run's directory.
        episodes: How many.
        seed: Seed of the episodes: they are the first that `floq.evaluate` plays with it.
        policy_seed: Which of the run's seeds acts; the first by default.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is no run, or it has saved nothing yet.
        OSError: If the output is no file, or cannot be written.
        MissingExtraError: If an MP4 is asked for without the extra `video`.
        ValueError: If the file is of another kind, the run has no environment or no such seed, or
            nothing can be rendered here.
    """
    path = None if output is None else user_path(output, "output")
    kind = "webp" if path is None else path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ValueError(
            f"{path} is no video that floq writes: name a file that ends in .webp, .gif or .mp4."
        )
    if kind == "mp4":
        require_extra("video")
    if not 1 <= episodes <= _MOST_EPISODES:
        raise ValueError(f"episodes is {episodes}: give between 1 and {_MOST_EPISODES}.")
    run = load_run(directory)
    path = output_file(path, run.directory / "rollout.webp")
    played = play(run, episodes, seed=seed, policy_seed=policy_seed)
    if played[0].frames is None:
        raise ValueError(f"{run.directory}: {played[0].no_frames}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, encoded(film(run, played, policy_seed=policy_seed), kind))
    return path


def pictures(run: Run) -> Iterator[tuple[str, np.ndarray]]:
    """The pictures of a run's rollouts by name, each uint8 [frames, height, width, 3]."""
    if run.config.environment is None:
        return
    played = play(run, _EPISODES)
    critic = probe.judge_of(run, run.config.seeds[0])
    views = _views(run, critic, played)
    if critic is not None:
        maze = _maze(run, critic, played[0])
        if maze is not None:
            yield "report/value map", figures.to_array(figures.value_map(maze))[None]
        yield "report/value along", figures.to_array(figures.value_along(views[0]))[None]
    if isinstance(critic, FlowCritic):
        flow = probe.rollout_flow_view(critic, run.policy, played[0])
        yield "report/flow", figures.to_array(figures.flow_trajectories(flow))[None]
    if played[0].frames is not None:
        yield "rollout", film(run, played, views=views)


def rollout_sections(run: Run) -> list[str]:
    """What shows only with a policy, or with a reason why it does not."""
    titles = ("The learned value", "Rollouts", "The flow, from noise to value")
    try:
        played = play(run, _EPISODES)
    except ValueError as error:
        known = run.config.environment is None or run.state is None
        reason = str(error) if known else f"The policy cannot be played here: {error}"
        return [page.section(title, page.paragraph(reason, kind="missing")) for title in titles]
    critic = probe.judge_of(run, run.config.seeds[0])
    views = _views(run, critic, played)
    frames = _frames_section(titles[1], run, played, views)
    if critic is None:
        missing = page.paragraph(f"{run.config.algorithm} has no critic.", kind="missing")
        return [page.section(titles[0], missing), frames, page.section(titles[2], missing)]
    value = _value_section(titles[0], run, critic, played[0], views[0])
    if not isinstance(critic, FlowCritic):
        missing = page.paragraph(f"A {type(critic).__name__} is no flow.", kind="missing")
        return [value, frames, page.section(titles[2], missing)]
    return [value, frames, _flow_section(titles[2], run, critic, played[0])]


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


def _views(run: Run, critic: Critic | None, played: Sequence[Recording]) -> list[probe.RolloutView]:
    """The learned value along each episode; none without a critic."""
    if critic is None:
        return []
    discount = run.config.config.discount
    return [probe.rollout_view(critic, run.policy, one, discount=discount) for one in played]


def _maze(run: Run, critic: Critic, recording: Recording) -> probe.MazeView | None:
    environment = run.config.environment
    assert environment is not None
    return probe.maze_view(critic, run.policy, recording, environment, seed=ROLLOUT_SEED)


def _value_section(
    title: str, run: Run, critic: Critic, recording: Recording, view: probe.RolloutView
) -> str:
    parts = [page.paragraph(_VALUE_NOTE, kind="note")]
    maze = _maze(run, critic, recording)
    if maze is not None:
        note = "The maze from above, with the body everywhere in its first posture."
        if maze.arrows is not None:
            note += " Arrows are the policy's mean first action, the longest being full speed."
        picture = figures.to_svg(figures.value_map(maze))
        words = "learned value over the maze"
        parts.append(page.image(picture, description=words, shrinks=True))
        parts.append(page.paragraph(note))
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


def _frames_section(
    title: str, run: Run, played: Sequence[Recording], views: Sequence[probe.RolloutView]
) -> str:
    recording = played[0]
    length = len(recording.actions)
    outcome = {True: ", with success", False: ", without success", None: ""}[recording.success]
    total = page.number(float(recording.rewards.sum()))
    text = (
        f"The first takes {page.count(length, 'step')}{outcome}; return {total}. It is the one "
        "whose value is shown above."
    )
    parts = [page.paragraph(text, kind="note")]
    frames = recording.frames
    if frames is None:
        parts.append(page.paragraph(f"No pictures: {recording.no_frames}.", kind="missing"))
        return page.section(title, *parts)
    words = f"{page.count(len(played), 'episode')} side by side, as they go"
    parts.append(page.video(encoded(film(run, played, views=views), "webp"), description=words))
    if views:
        parts.append(page.paragraph("Below each episode is V(s) along it, on one scale."))
    chosen = np.unique(np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int))
    stills = [
        (figures.to_png(frames[index]), f"step {index * recording.frame_stride:,}")
        for index in chosen
    ]
    parts.append(page.details("The first episode, in stills", page.strip(stills)))
    return page.section(title, *parts)
