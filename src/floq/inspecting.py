"""A look inside a trained critic: one page of pictures that holds everything it shows."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from floq.critics.flow import FlowCritic
from floq.data.dataset import Dataset
from floq.data.streamed import StreamedDataset
from floq.disk import output_file, replace_bytes, user_path
from floq.envs.make import Environment
from floq.inspection import probe
from floq.inspection.flow_shape import flow_shape
from floq.inspection.integration_steps import read_at_steps
from floq.inspection.returns import Decisions, calibration, data_decisions, run_decisions
from floq.reports.inspection_page import Findings, inspection_page
from floq.runs.run import Run, load_run
from floq.settings import takes_settings
from floq.training.preparation import as_decisions, with_environment
from floq.training.sources import DataFile, verified_dataset

STEPS = (1, 2, 4, 8, 16)
"""Integration steps K at which a flow critic is read again."""

_PAIRS = 256
_PATHS = (0.02, 0.5, 0.98)
"""Quantiles of Q whose flow is drawn."""


@takes_settings("seed", "episodes", "integration_steps", "processes")
def inspect(
    directory: str | Path,
    *,
    output: str | Path | None = None,
    policy_seed: int | None = None,
    dataset: Dataset | DataFile | str | Path | None = None,
    env: Environment | None = None,
    episodes: int = 20,
    integration_steps: Sequence[int] = STEPS,
    processes: int | None = None,
) -> Path:
    """Writes a page of pictures about the critic of a run; it needs no network and no other file.

    What cannot be drawn, because the critic is no flow, or because there is no environment or no
    data, is named in its place.

    Args:
        directory: The run.
        output: The page to write; its folder is made if it is not there. By default
            `inspection.html` in the run's directory.
        policy_seed: Which of the run's seeds to look into; the first by default.
        dataset: The run's data, the file that holds it, or the folder of a task's dataset files; by
            default the file that the run has noted, or where `load_task` looks.
        env: The environment, if it is not the run's.
        episodes: Episodes of the policy that values are compared with.
        integration_steps: The K at which a flow critic is read again.
        processes: Processes that step environments; by default one for each core.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If there is no run, or it has saved nothing yet.
        OSError: If the output is no file, or cannot be written.
        ValueError: If the run has no critic or no such seed, the dataset is another one than the
            run's, or a number is below 1.
    """
    if not integration_steps:
        raise ValueError("integration_steps is empty: give one K or more, such as 1 2 4 8 16.")
    for name, value in (("episodes", episodes), ("integration_steps", min(integration_steps))):
        if value < 1:
            raise ValueError(f"{name} is {value}: give 1 or more.")
    run = load_run(directory)
    path = output_file(output, run.directory / "inspection.html")
    if env is not None:
        config = with_environment(run.config, env, processes=processes)
        run = dataclasses.replace(run, config=config)
    seed = run.config.seeds[0] if policy_seed is None else policy_seed
    critic = probe.critic_of(run, seed)
    if critic is None:
        raise ValueError(f"{run.directory}: {run.config.algorithm} has no critic to look into.")
    found, no_data = _data_of(run, dataset)
    decisions, source = _decisions(run, seed, dataset=found, episodes=episodes, processes=processes)
    findings = Findings(run, seed, critic, episodes, no_data=no_data, source=source)
    if decisions is not None:
        values = probe.decision_values(critic, decisions.observations, decisions.actions)
        findings = findings._replace(values=calibration(values, decisions))
    pairs = _pairs(run, found, decisions)
    if isinstance(critic, FlowCritic) and pairs is not None:
        findings = findings._replace(paths=_paths(critic, *pairs), shape=flow_shape(critic, *pairs))
    if isinstance(critic, FlowCritic) and decisions is not None:
        readings = read_at_steps(
            run, integration_steps, {seed: decisions}, episodes=episodes, processes=processes
        )
        findings = findings._replace(readings=readings)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, inspection_page(findings))
    return path


def _data_of(
    run: Run, dataset: Dataset | DataFile | str | Path | None
) -> tuple[Dataset | None, str]:
    """The run's data, or why it is not there."""
    if run.config.goals is not None:
        return None, "The run learned at goals that were drawn beside its data."
    folder = None
    of_task = run.config.task is not None and run.config.data is None
    if of_task and isinstance(dataset, str | Path) and not user_path(dataset).is_file():
        dataset, folder = None, user_path(dataset)
    if run.config.parts is not None:
        return None, "The data is streamed, so that there is none to look at."
    try:
        found, _ = verified_dataset(run.directory, run.config, dataset, directory=folder)
        assert not isinstance(found, StreamedDataset)
        return found, ""
    except (FileNotFoundError, ValueError) as error:
        # Data that somebody gives must be the right one; a page can do without the task's.
        if dataset is not None:
            raise
        return None, str(error)


def _decisions(
    run: Run, seed: int, *, dataset: Dataset | None, episodes: int, processes: int | None
) -> tuple[Decisions | None, str]:
    """What values are compared with: the policy's episodes, else the data's; or why nothing is."""
    reason = "The run has no environment."
    if run.config.environment is not None:
        try:
            found = run_decisions(run, seed, episodes=episodes, processes=processes)
            return found, "policy"
        except ValueError as error:
            reason = f"The policy cannot be played here: {error}"
    if dataset is not None:
        config = run.config.config
        try:
            seen = as_decisions(dataset, config)
            return data_decisions(dataset, seen, discount=config.discount), "data"
        except ValueError as error:
            reason = f"{reason} In the data, {error}"
    return None, reason


def _pairs(
    run: Run, dataset: Dataset | None, decisions: Decisions | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs (s, a) of the data; of the episodes that were played, if there is no data."""
    if dataset is not None:
        seen = as_decisions(dataset, run.config.config)
        batch = seen.take(jnp.asarray(_spread(seen.size)))
        return np.asarray(batch.observations), np.asarray(batch.actions)
    if decisions is None:
        return None
    rows = _spread(len(decisions.returns))
    return decisions.observations[rows], decisions.actions[rows]


def _spread(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, min(count, _PAIRS)).round().astype(np.int64)


def _paths(critic: FlowCritic, observations: np.ndarray, actions: np.ndarray) -> probe.FlowView:
    """The flow of pairs of low, middling and high value."""
    values = probe.decision_values(critic, observations, actions)
    order = np.argsort(values)
    rows = order[[round(quantile * (len(order) - 1)) for quantile in _PATHS]]
    names = ("low", "middle", "high")
    labels = [f"a pair of {name} Q" for name in names]
    return probe.flow_view(critic, observations[rows], actions[rows], labels)
