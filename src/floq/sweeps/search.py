"""Searches with Optuna whose choices follow from the spec and from finished runs alone."""

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from floq.extras import require_extra
from floq.sweeps.settings import setting, spelled
from floq.sweeps.spec import Choices, Range


class Trial(NamedTuple):
    """One setting that a search tried.

    Attributes:
        settings: Values by dotted name.
        value: What came of it, the more the better; None if it is not known yet, NaN if it failed.
    """

    settings: Mapping[str, Any]
    value: float | None


def suggest(
    space: Mapping[str, Choices | Range],
    config: Any,
    trials: Sequence[Trial],
    *,
    seed: int,
    name: str,
) -> dict[str, Any]:
    """The settings of the next trial, by Optuna's tree-structured Parzen estimator.

    No state is kept: the same trials lead to the same choice, so that a search which was killed
    goes on as if it had not been.

    Args:
        space: What varies.
        config: Settings of the same kind, from which it is read which numbers are whole.
        trials: All trials before, in order. Settings of those without a value are avoided.
        seed: The search's seed.
        name: What tells this search from the others of a sweep.

    Raises:
        MissingExtraError: If Optuna is not installed.
        ValueError: If an earlier trial has settings outside of the space.
    """
    require_extra("sweep", "optuna")
    import optuna  # pyright: ignore[reportMissingImports] - an extra

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    entropy = np.random.SeedSequence([seed, zlib.crc32(name.encode()), len(trials)])
    sampler = optuna.samplers.TPESampler(
        seed=int(entropy.generate_state(1)[0]), constant_liar=True, n_startup_trials=10
    )
    search = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {
        key: _distribution(optuna, part, setting(config, key)) for key, part in space.items()
    }
    states = optuna.trial.TrialState
    for number, trial in enumerate(trials):
        if trial.value is None:
            state = states.RUNNING
        else:
            state = states.COMPLETE if math.isfinite(trial.value) else states.FAIL
        parameters = {
            key: _parameter(part, trial.settings[key], f"trial {number} of {name}: {key}")
            for key, part in space.items()
        }
        search.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=parameters,
                distributions=distributions,
                value=trial.value if state == states.COMPLETE else None,
            )
        )
    chosen = search.ask(distributions).params
    return {
        key: part.choices[chosen[key]] if isinstance(part, Choices) else chosen[key]
        for key, part in space.items()
    }


def _distribution(optuna: Any, part: Choices | Range, value: Any) -> Any:
    kinds = optuna.distributions
    if isinstance(part, Choices):
        # By place, since Optuna knows no lists.
        return kinds.CategoricalDistribution(range(len(part.choices)))
    if isinstance(value, int):
        return kinds.IntDistribution(int(part.low), int(part.high), log=part.log)
    return kinds.FloatDistribution(float(part.low), float(part.high), log=part.log)


def _parameter(part: Choices | Range, value: Any, name: str) -> Any:
    """A setting as Optuna has it."""
    if isinstance(part, Range):
        if not part.low <= value <= part.high:
            raise ValueError(
                f"{name} was {value}, which is not between {part.low} and {part.high}: a search "
                "that has begun keeps its space. Give the sweep another --directory."
            )
        return value
    places = [
        place for place, choice in enumerate(part.choices) if spelled(choice) == spelled(value)
    ]
    if not places:
        raise ValueError(
            f"{name} was {spelled(value)}, which is none of {', '.join(map(spelled, part.choices))}"
            ": a search that has begun keeps its space. Give the sweep another --directory."
        )
    return places[0]
