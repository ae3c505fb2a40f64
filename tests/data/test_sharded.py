import numpy as np
import pytest

from floq.data import memory
from floq.data.info import check
from floq.data.memory import ACTION_LIMIT
from floq.data.sharded import ShardedRows


def label(arrays):
    """Rewards that show which row they belong to."""
    return arrays["qpos"][:, 0], np.ones(len(arrays["qpos"]))


def open_rows(path, **options):
    return ShardedRows.open(path, fields=("qpos",), label=label, **options)


@pytest.fixture
def shards(tmp_path, file_arrays):
    """The three trajectories in two files, one compressed and one column by column."""
    folder = tmp_path / "shards"
    folder.mkdir()
    rows = len(file_arrays["observations"])
    file_arrays["qpos"] = np.arange(rows * 4, dtype=np.float64).reshape(rows, 4)
    for number, own in enumerate((slice(0, 6), slice(6, rows))):
        arrays = {field: values[own] for field, values in file_arrays.items()}
        if number == 0:
            np.savez_compressed(folder / "a-000.npz", **arrays)
        else:
            arrays["observations"] = np.asfortranarray(arrays["observations"])
            np.savez(folder / "a-001.npz", **arrays)
        np.savez(folder / f"a-00{number}-val.npz", **arrays)
    return folder


def test_rows_are_those_of_the_arrays(shards, file_arrays, monkeypatch):
    """Pieces of any length, and any range of rows, are those of all files after one another."""
    monkeypatch.setattr(memory, "PIECE", 2)
    monkeypatch.setattr("floq.data.npz.PIECE", 2)
    rows = open_rows(shards)
    file_arrays["actions"] = np.clip(file_arrays["actions"], -ACTION_LIMIT, ACTION_LIMIT)
    for field in ("observations", "actions"):
        pieces = list(rows.pieces(field))
        assert len(pieces) > 3
        assert {piece.dtype for piece in pieces} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(np.concatenate(pieces), file_arrays[field])
    rewards = np.concatenate([found for found, _ in rows.labels()])
    np.testing.assert_array_equal(rewards, file_arrays["qpos"][:, 0])
    for first, last in ((0, 11), (2, 5), (4, 9), (6, 7), (9, 13), (10, 24)):
        numbers = np.arange(first, last) % 11
        found = rows.read(first, last)
        for field in ("observations", "actions"):
            np.testing.assert_array_equal(found[field], file_arrays[field][numbers])
        np.testing.assert_array_equal(found["rewards"], file_arrays["qpos"][numbers, 0])


@pytest.mark.parametrize("field", ["observations", "qpos"])
def test_faults_name_file_field_and_row(tmp_path, file_arrays, field):
    """A fault in a file, its simulation fields included, is named with file, field and row."""
    path = tmp_path / "x.npz"
    file_arrays[field][7, 1] = np.nan
    np.savez_compressed(path, **file_arrays)
    rows = open_rows(path)
    with pytest.raises(ValueError, match=rf"x\.npz: {field} must be finite.*row 7 holds nan"):
        list(rows.pieces(field))


def test_a_changed_byte_is_found(tmp_path, file_arrays):
    """All rows are held against the archive's checksum."""
    path = tmp_path / "x.npz"
    np.savez(path, **file_arrays)
    content = bytearray(path.read_bytes())
    content[content.index(file_arrays["observations"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz: observations\.npy cannot be read.*CRC"):
        list(open_rows(path).pieces("observations"))


def test_a_field_that_the_rewards_need(tmp_path, file_arrays):
    """A file without a simulation field that is asked for is refused."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **file_arrays)
    with pytest.raises(ValueError, match="no array named button_states"):
        ShardedRows.open(path, fields=("qpos", "button_states"), label=label)


def test_shards_that_differ_are_refused(shards, file_arrays):
    """Every file ends with a trajectory's end, and has rows as those of the first."""
    narrow = file_arrays | {"observations": file_arrays["observations"][:, :2]}
    np.savez(shards / "a-002.npz", **narrow)
    with pytest.raises(ValueError, match=r"a-002\.npz: observations has rows of shape \(2,\)"):
        open_rows(shards)
    np.savez(shards / "a-002.npz", **{field: rows[:9] for field, rows in file_arrays.items()})
    with pytest.raises(ValueError, match=r"a-002\.npz: terminals is False at the last row, 8"):
        list(open_rows(shards).pieces("terminals"))


def test_rows_that_may_be_transitions_are_refused(tmp_path, trajectories):
    """What somebody else wrote, with rewards, is streamed once it is converted."""
    np.savez(tmp_path / "x.npz", **trajectories)
    with pytest.raises(ValueError, match=r"not settled.*floq data convert"):
        ShardedRows.open(tmp_path / "x.npz")


def test_checks_read_shards_in_pieces(shards, file_arrays, monkeypatch):
    """`floq data check` of a folder finds a fault of any shard, and never holds all of it."""
    monkeypatch.setattr("floq.data.info.check_file", lambda *_: pytest.fail("all was read"))
    assert check(f"ogbench:{shards}") == {shards: None}
    file_arrays["qvel"][2, 1] = np.inf
    np.savez(shards / "a-002.npz", **file_arrays)
    assert "a-002.npz: qvel must be finite" in str(check(f"ogbench:{shards}")[shards])
