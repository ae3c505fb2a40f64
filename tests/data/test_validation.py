import re

import numpy as np
import pytest

from floq.data import memory
from floq.data.validation import check_arrays


def refused(arrays, *words):
    """Assert that the arrays are refused with a message that holds the words."""
    with pytest.raises(ValueError, match=r"^somewhere: ") as caught:
        check_arrays(arrays, source="somewhere")
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_sound_arrays_pass_unchanged(trajectories):
    """Sound arrays come back as the same arrays, not copies."""
    checked = check_arrays(trajectories, source="somewhere")
    assert all(checked[field] is values for field, values in trajectories.items())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["observations", "actions", "rewards", "masks"])
def test_values_that_are_not_finite(trajectories, field, value):
    """NaN and infinity are refused in every float field, with the first row and the count."""
    trajectories[field][[4, 7]] = value
    refused(trajectories, f"{field} must be finite", "row 4", str(value), "2 rows of 11")


def test_first_bad_row_is_found_across_pieces(monkeypatch, trajectories):
    """Reading in pieces changes neither the first row nor the count."""
    monkeypatch.setattr(memory, "PIECE", 4)
    trajectories["observations"][[6, 7, 9], 1] = np.nan
    refused(trajectories, "observations must be finite", "row 6", "3 rows of 11")


def test_values_beyond_float32(trajectories):
    """A float64 value that would become infinite in float32 is refused."""
    trajectories["rewards"] = trajectories["rewards"].astype(np.float64)
    trajectories["rewards"][2] = 1e300
    refused(trajectories, "rewards must be finite", "row 2", "1e+300", "1 row of 11")


def test_actions_out_of_range(trajectories):
    """Actions may pass 1 by rounding, and by no more."""
    trajectories["actions"][3, 0] = -1.00005
    check_arrays(trajectories, source="somewhere")
    trajectories["actions"][5, 1] = 1.5
    refused(trajectories, "actions must lie within [-1, 1]", "row 5 holds 1.5", "1 row of 11")


@pytest.mark.parametrize("field", ["masks", "terminals"])
def test_flags_other_than_0_and_1(trajectories, field):
    """Flags are 0 or 1 in whatever dtype."""
    for dtype in (np.int64, np.float64):
        check_arrays(trajectories | {field: trajectories[field].astype(dtype)}, source="somewhere")
    trajectories[field] = trajectories[field].astype(np.float32)
    trajectories[field][6] = 0.5
    refused(trajectories, f"{field} must be 0 or 1", "row 6 holds 0.5")


def test_terminals_that_do_not_close_the_last_trajectory(trajectories):
    """The last row must end a trajectory; the message says how many ends there are before it."""
    trajectories["terminals"][10] = False
    refused(trajectories, "terminals is False at the last row, 10", "2 ends before it")
    trajectories["terminals"][:] = False
    refused(trajectories, "no ends before it")


@pytest.mark.parametrize("field", ["actions", "rewards", "terminals"])
def test_lengths_that_differ(trajectories, field):
    """A field with another number of rows is refused, with both numbers."""
    trajectories[field] = trajectories[field][:-1]
    refused(trajectories, f"{field} has 10 rows and observations has 11")


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        ("observations", (11,)),
        ("observations", (11, 8, 8, 3)),
        ("actions", (11,)),
        ("rewards", (11, 1)),
        ("terminals", ()),
    ],
)
def test_wrong_number_of_dimensions(trajectories, field, shape):
    """A field with a wrong number of dimensions is refused, with its shape and the right one."""
    trajectories[field] = np.zeros(shape, dtype=np.float32)
    refused(trajectories, f"{field} has the shape {shape}", "is needed")


@pytest.mark.parametrize(
    ("field", "values", "word"),
    [
        ("observations", np.array([["a"] * 3] * 11), "<U1"),
        ("observations", np.zeros((11, 3), dtype=complex), "complex128"),
        ("observations", np.array([[None] * 3] * 11), "Python objects"),
        ("observations", {"eye": np.zeros((11, 2))}, "gymnasium.wrappers.FlattenObservation"),
        ("observations", [{"eye": 0.0}] * 11, "is a dictionary"),
        ("observations", np.zeros(11, [("eye", "f4"), ("arm", "f4")]), "is a dictionary"),
        ("rewards", None, "rewards is None"),
        ("masks", np.zeros(11, complex), "complex128"),
        ("actions", np.zeros((11, 2), dtype=np.int64), "no discrete actions"),
        ("actions", np.zeros((11, 2), dtype=bool), "bool"),
        ("rewards", np.zeros(11, dtype="datetime64[s]"), "datetime64"),
    ],
)
def test_wrong_dtypes(trajectories, field, values, word):
    """What is not a number is refused, with the field and its dtype."""
    refused(trajectories | {field: values}, field, word)


@pytest.mark.parametrize(
    ("field", "shape", "way_out"),
    [
        ("rewards", (11, 1), "give rewards[:, 0]"),
        ("masks", (11, 1), "give masks[:, 0]"),
        ("rewards", (1, 11), "one number for each row"),
        ("actions", (11,), "give actions[:, None]"),
        ("observations", (5, 11, 3), "put one after the other"),
        ("observations", (11, 8, 8, 3), "give images as"),
    ],
)
def test_wrong_shapes_tell_the_right_one(trajectories, field, shape, way_out):
    """A column of rewards, a list of numbers as actions, or a batch of episodes: how to give it."""
    trajectories[field] = np.zeros(shape, dtype=np.float32)
    refused(trajectories, f"{field} has the shape {shape}", way_out)


def test_masked_arrays(trajectories):
    """Numbers that are hidden would be read as if they were not; where none is, all is well."""
    hidden = np.ma.array(trajectories["rewards"], mask=np.arange(11) == 4)
    refused(trajectories | {"rewards": hidden}, "rewards is a masked array, and 1 of its entries")
    shown = np.ma.array(trajectories["rewards"], mask=False)
    check_arrays(trajectories | {"rewards": shown}, source="somewhere")


def test_arrays_of_other_libraries_that_cannot_be_read(trajectories):
    """What a tensor on a GPU raises is said with the field's name."""

    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")

    refused(trajectories | {"actions": Tensor()}, "actions is no array: can't convert cuda:0")


def test_ragged_lists(trajectories):
    """Rows of unequal length are refused with the field's name."""
    ragged = [[0.0, 1.0]] * 10 + [[0.0]]
    refused(trajectories | {"actions": ragged}, "actions is no array", "equal length")


def test_empty_arrays(trajectories):
    """Data without rows, or rows without entries, is refused."""
    empty = {field: values[:0] for field, values in trajectories.items()}
    refused(empty, "observations is empty, with the shape (0, 3)")
    refused(
        trajectories | {"actions": np.zeros((11, 0), dtype=np.float32)},
        "actions is empty, with the shape (11, 0)",
    )


def test_next_observations_of_another_width(trajectories):
    """Next observations must have as many entries as observations."""
    del trajectories["terminals"]
    following = np.zeros((11, 4), dtype=np.float32)
    refused(
        trajectories | {"next_observations": following},
        "next_observations has 4 entries a row and observations has 3",
    )


def test_every_message_tells_a_way_out(trajectories):
    """A message goes on after the fault, with what to do."""
    trajectories["actions"][0] = 3
    with pytest.raises(ValueError, match=re.escape("floq will rescale the actions to this range")):
        check_arrays(trajectories, source="somewhere")
