"""The environment of a run that learns to reach goals."""

from floq.data.goals import Goals
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
