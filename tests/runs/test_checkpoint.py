import json
import shutil
import struct
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.networks.modules import named_leaves
from floq.runs import checkpoint as module
from floq.runs.checkpoint import (
    DamagedCheckpointError,
    checkpoint_paths,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    set_aside_after,
)
from floq.runs.shards import fingerprint


class Pair(NamedTuple):
    weights: jax.Array
    rest: dict


def make_state(value=0.0):
    return Pair(
        jnp.arange(6, dtype=jnp.float32).reshape(2, 3) + value,
        {
            "half": jnp.full((2,), 1 / 3, jnp.bfloat16),
            "count": jnp.array(7, jnp.int32),
            "flags": jnp.array([True, False]),
            "list": [jnp.zeros((0, 2)), jnp.array([2**32 - 1], jnp.uint32)],
        },
    )


TEMPLATE = jax.eval_shape(make_state)


def save(folder, step, *, keep=2, value=0.0):
    return save_checkpoint(folder, step, make_state(value), details={"a": 0.1}, keep=keep)


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_a_checkpoint_gives_back_every_bit(tmp_path):
    """Arrays of any dtype and rank, the step and the details are read as they were saved."""
    loaded = load_checkpoint(save(tmp_path, 20_000), TEMPLATE)
    assert loaded.path == tmp_path / "step_000020000"
    assert (loaded.step, loaded.details) == (20_000, {"a": 0.1})
    assert_same(loaded.state, make_state())


def test_memory_order_does_not_matter(tmp_path):
    """A transposed array, whose memory is not in C order, is saved by value."""
    state = {"x": np.arange(6.0, dtype=np.float32).reshape(2, 3).T}
    path = save_checkpoint(tmp_path, 1, state, details={}, keep=2)
    np.testing.assert_array_equal(load_checkpoint(path, state).state["x"], state["x"])


def test_arrays_are_named_by_their_path():
    """The names in the file are the dotted paths of the pytree, readable without floq."""
    assert list(named_leaves(make_state())) == [
        "weights",
        "rest.count",
        "rest.flags",
        "rest.half",
        "rest.list.0",
        "rest.list.1",
    ]
    with pytest.raises(ValueError, match="same name"):
        named_leaves({"a": {"b": 1}, "a.b": 2})


def damage(path, kind):
    content = path.read_bytes()
    if kind == "deleted":
        path.unlink()
    elif kind == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])


@pytest.mark.parametrize("kind", ["flipped", "cut short", "empty", "deleted"])
@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "manifest.json"])
def test_damage_is_named_and_the_former_checkpoint_is_used(tmp_path, name, kind):
    """Whatever happens to a file, its checkpoint is reported and the one before is loaded."""
    save(tmp_path, 1, value=1.0)
    newest = save(tmp_path, 2, value=2.0)
    damage(newest / name, kind)
    with pytest.warns(RuntimeWarning, match=f"step_000000002.*{name}|{name}.*step_000000002"):
        loaded = newest_checkpoint(tmp_path, TEMPLATE)
    assert loaded is not None
    assert loaded.step == 1
    assert_same(loaded.state, make_state(1.0))


def test_any_flipped_bit_of_the_state_is_found(tmp_path):
    """Every single bit of the state file counts."""
    path = save(tmp_path, 1)
    file = path / "state.safetensors"
    content = file.read_bytes()
    for bit in range(0, 8 * len(content), 7):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        with pytest.raises(DamagedCheckpointError, match=r"state\.safetensors"):
            load_checkpoint(path, TEMPLATE)


def test_no_good_checkpoint_is_an_error_and_none_at_all_is_none(tmp_path):
    """A run that never saved can start; one whose checkpoints are all damaged must not."""
    assert newest_checkpoint(tmp_path / "absent", TEMPLATE) is None
    for step in (1, 2):
        damage(save(tmp_path, step) / "state.json", "flipped")
    with (
        pytest.warns(RuntimeWarning, match="passed over"),
        pytest.raises(RuntimeError, match=r"All 2 checkpoints .* are damaged"),
    ):
        newest_checkpoint(tmp_path, TEMPLATE)


def test_set_aside_makes_room_for_the_step_of_a_damaged_checkpoint(tmp_path):
    """After a damaged checkpoint was passed over, training reaches its step and saves there."""
    save(tmp_path, 1)
    save(tmp_path, 2)
    set_aside_after(load_checkpoint(tmp_path / "step_000000001", TEMPLATE))
    assert [path.name for path in checkpoint_paths(tmp_path)] == ["step_000000001"]
    assert (tmp_path / "damaged_step_000000002").is_dir()
    save(tmp_path, 2, value=2.0)
    assert_same(newest_checkpoint(tmp_path, TEMPLATE).state, make_state(2.0))


def test_a_folder_renamed_to_another_step_is_damaged(tmp_path):
    """The step in the files must be the folder's: a renamed copy would resume at a wrong step."""
    save(tmp_path, 1).rename(tmp_path / "step_000000009")
    with pytest.raises(DamagedCheckpointError, match="step 1 in a folder of another name"):
        load_checkpoint(tmp_path / "step_000000009", TEMPLATE)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (make_state()._replace(weights=jnp.zeros((3, 2))), r"weights is float32\[2, 3\].*\[3, 2\]"),
        (make_state()._replace(weights=jnp.zeros((2, 3), jnp.int32)), r"float32.*int32\[2, 3\]"),
        (make_state()._replace(rest={}), r"rest\.\S+ is .* and absent in the run"),
    ],
)
def test_an_intact_checkpoint_of_something_else_is_an_error(tmp_path, template, message):
    """Other shapes, dtypes or names are not damage to be passed over: the array is named."""
    save(tmp_path, 1)
    with pytest.raises(ValueError, match=message):
        newest_checkpoint(tmp_path, template)


def rewrite(path, content):
    """Replaces the arrays and makes the manifest agree, as somebody with intent can."""
    (path / "state.safetensors").write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["state.safetensors"] = fingerprint(content)
    (path / "manifest.json").write_text(json.dumps(manifest))


def header(fields, size=None):
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text


@pytest.mark.parametrize(
    "content",
    [
        header({}, size=2**63),
        header({}, size=2**27),
        header({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}),
        header({"x": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 0]}}),
        header({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}) + bytes(4),
        header({"x": {"dtype": "object", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
        b"\x80\x04\x95" + bytes(100),
    ],
)
def test_hostile_arrays_are_refused(tmp_path, content):
    """Headers that lie about sizes are refused before anything of that size is allocated."""
    path = save(tmp_path, 1)
    rewrite(path, content)
    with pytest.raises(DamagedCheckpointError, match="cannot be read"):
        load_checkpoint(path, TEMPLATE)


def test_old_checkpoints_go_but_the_last_ones_stay(tmp_path):
    """Exactly the last `keep` are there after each save, in the order of their steps."""
    for step in (5, 10, 100, 1_000, 1_000_000_000):
        save(tmp_path, step, keep=3)
    names = ["step_000000100", "step_000001000", "step_1000000000"]
    assert [path.name for path in checkpoint_paths(tmp_path)] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


@pytest.mark.parametrize("failing", ["state.json", "manifest.json"])
def test_a_failing_save_leaves_the_former_checkpoints(tmp_path, monkeypatch, failing):
    """If the disk fills up in the middle of a save, what was there is there, and nothing else."""
    for step in (1, 2):
        save(tmp_path, step)
    write = module.write_bytes

    def fail(path, content):
        if path.name == failing:
            raise OSError("No space left on device")
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_bytes", fail)
        with pytest.raises(OSError, match="No space left"):
            save(tmp_path, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000000001", "step_000000002"]
    assert newest_checkpoint(tmp_path, TEMPLATE).step == 2
    save(tmp_path, 3)
    assert newest_checkpoint(tmp_path, TEMPLATE).step == 3


def test_what_a_kill_left_half_written_is_no_checkpoint(tmp_path):
    """A partial folder is never taken for a checkpoint, and the next save removes it."""
    shutil.copytree(save(tmp_path, 1), tmp_path / "step_000000002.tmp")
    assert newest_checkpoint(tmp_path, TEMPLATE).step == 1
    save(tmp_path, 2)
    assert not list(tmp_path.glob("*.tmp"))
