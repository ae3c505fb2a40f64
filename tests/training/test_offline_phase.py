"""The offline phase by itself, without the loop around it."""

import pytest
import tiny_algorithm as tiny

from floq.runs.directory import RunConfig
from floq.training import Schedule
from floq.training.offline_phase import OfflinePhase

DATASET = tiny.make_dataset()


def make_phase():
    return OfflinePhase(
        RunConfig(
            algorithm="tiny",
            config=tiny.Config(),
            task=None,
            environment=None,
            seeds=(0,),
            steps=20,
            online=None,
            schedule=Schedule(log_interval=7),
            fingerprint=DATASET.fingerprint(),
            statistics=DATASET.statistics,
        ),
        DATASET,
        None,
    )


def test_sums_start_anew_after_each_multiple_of_the_log_interval():
    """At step 7 they sum updates 1 to 7, at step 9 updates 8 and 9."""
    phase, losses = make_phase(), []
    for step in range(9):
        before = float(phase.window().sums["loss"][0]) if step % 7 else 0.0
        phase.advance(step + 1, lambda: False)
        assert phase.step == step + 1
        losses.append(float(phase.window().sums["loss"][0]) - before)
        if step == 6:
            assert phase.window().sums["loss"][0] == pytest.approx(sum(losses), rel=1e-5)
            assert phase.window()[1:3] == (0, 7)
    assert phase.window().sums["loss"][0] == pytest.approx(sum(losses[7:]), rel=1e-5)
    assert phase.window()[1:3] == (7, 9)
    assert min(losses) > 0
    phase.close()
