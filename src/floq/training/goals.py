"""The environment of a run whose data does not tell its rewards: by goals, or by success."""

from floq.data.goals import Goals
from floq.data.reading import Reading
from floq.envs.make import EnvironmentSpec, with_arguments
from floq.runs.settings import Online


def with_goals(
    spec: EnvironmentSpec | None, goals: Goals | None, online: Online | None
) -> EnvironmentSpec | None:
    """The environment that shows the goals which a run learns to reach.

    Raises:
        ValueError: If the run trains in it, which goals are not drawn for.
    """
    if goals is None:
        return spec
    if online is not None:
        raise ValueError(
            "goals are given beside online settings: goals are drawn from data, so train on the "
            "dataset alone."
        )
    return spec and with_arguments(spec, goals=list(goals.goal_entries))


def with_successes(
    spec: EnvironmentSpec, reading: Reading | None, goals: Goals | None
) -> EnvironmentSpec:
    """The environment that is rewarded by success where the run's data is read so."""
    if goals is not None or reading is None or reading.rewards != "success":
        return spec
    return with_arguments(spec, success_reward=True)
