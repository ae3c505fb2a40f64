"""Recorded updates of the published runs are reproduced, and a wrong one is noticed."""

from pathlib import Path

import golden
import numpy as np
import pytest

FILES = sorted((Path(__file__).parent / "golden_data").glob("*.npz"))
# Their advantages are differences of near values, and fewer optimisations round those further than
# the tolerance. The others are within it as compiled for tests, in half the time.
OPTIMISED = {"iql", "ifql"}


def test_there_are_recorded_updates():
    """Every form of floq, of FQL and of the baselines that was recorded is there."""
    assert {path.stem for path in FILES} >= {
        *("default", "min_aggregation", "residual"),
        *("fql", "fql_residual", "iqn"),
        *("rebrac", "iql", "ifql"),
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_update_equals_the_recorded_one(path, capsys, request):
    """Values and losses to 1e-5, gradients and updated parameters to 1e-4, in relative error."""
    if path.stem in OPTIMISED:
        request.getfixturevalue("optimised")
    assert golden.main([str(path)]) == 0
    assert "ok" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["expected/td_target", "grads/velocity/mlp/Dense_1/kernel"])
def test_a_wrong_number_is_noticed(name, tmp_path):
    """A recorded number that is off by a thousandth fails the check."""
    with np.load(FILES[0], allow_pickle=False) as file:
        arrays = dict(file)
    arrays[name] = arrays[name] * np.float32(1.001)
    np.savez(tmp_path / "wrong.npz", **arrays)
    assert golden.main([str(tmp_path / "wrong.npz")]) == 1


def test_no_file_is_no_success():
    """Without a file there is nothing to pass."""
    assert golden.main([]) == 2
