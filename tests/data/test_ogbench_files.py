import numpy as np
import pytest

from floq.data.ogbench_files import read_ogbench


def test_fields_and_dtypes(tmp_path, file_arrays):
    """Observations and actions are read as float32, and simulation fields as they are."""
    path = tmp_path / "x.npz"
    file_arrays["observations"] = file_arrays["observations"].astype(np.float64)
    file_arrays["qpos"] = file_arrays["qpos"].astype(np.float64)
    np.savez_compressed(path, **file_arrays)
    arrays = read_ogbench(path, simulation=["qpos"])
    assert {field: values.dtype for field, values in arrays.items()} == {
        "observations": np.float32,
        "actions": np.float32,
        "terminals": bool,
        "qpos": np.float64,
    }
    np.testing.assert_array_equal(arrays["actions"], file_arrays["actions"])
    np.testing.assert_array_equal(
        arrays["observations"], file_arrays["observations"].astype(np.float32)
    )


@pytest.mark.parametrize("field", ["observations", "qpos"])
def test_faults_name_file_field_and_row(tmp_path, file_arrays, field):
    """A fault in a file, its simulation fields included, is named with file, field and row."""
    path = tmp_path / "x.npz"
    file_arrays[field][7, 1] = np.nan
    np.savez_compressed(path, **file_arrays)
    with pytest.raises(ValueError, match=rf"x\.npz: {field} must be finite.*row 7 holds nan"):
        read_ogbench(path, simulation=["qpos"])


def test_a_field_that_the_rewards_need(tmp_path, file_arrays):
    """A file without a simulation field that is asked for is refused."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **file_arrays)
    with pytest.raises(ValueError, match="no array named button_states"):
        read_ogbench(path, simulation=["qpos", "button_states"])
