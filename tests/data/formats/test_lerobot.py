"""LeRobot's folders, in Parquet files as pyarrow writes them."""

import json

import numpy as np
import pytest

import floq
from tests.data.taken import all_of

pytestmark = pytest.mark.extras

LENGTHS = (3, 4, 2)


def columns(lengths=LENGTHS):
    """Rows of all episodes; the second one fails."""
    episode = np.repeat(np.arange(len(lengths)), lengths)
    last = np.append(np.diff(episode), 1) == 1
    rows = np.arange(len(episode), dtype=np.float32)
    return {
        "observation.state": np.stack([rows, -rows], axis=1),
        "action": np.full((len(rows), 2), 0.5, np.float32),
        "next.reward": rows / 10,
        "next.done": last,
        "next.truncated": last & (episode == 2),
        "next.success": last & (episode != 1),
        "episode_index": episode,
    }


def write(folder, arrays, *, cut=7, **changes):
    """Two files in LeRobot's layout, the first of so many rows."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / "data" / "chunk-000").mkdir(parents=True, exist_ok=True)
    features = {
        name: {"dtype": str(values.dtype), "shape": list(values.shape[1:]) or [1], "names": None}
        for name, values in arrays.items()
    }
    features["observation.images.front"] = {"dtype": "video", "shape": [96, 96, 3], "names": None}
    features["task"] = {"dtype": "string", "shape": [1], "names": None}
    rows = len(arrays["action"])
    info = {"codebase_version": "v3.0", "total_frames": rows, "features": features} | changes
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    for number, part in enumerate((slice(0, cut), slice(cut, None))):
        table = {
            name: pa.array(values[part])
            if values.ndim == 1
            else pa.FixedSizeListArray.from_arrays(pa.array(values[part].ravel()), values.shape[1])
            for name, values in arrays.items()
        }
        file = folder / "data" / "chunk-000" / f"file-{number:03d}.parquet"
        pq.write_table(pa.table(table), file)
    return folder


KEYS = {"observation_keys": ("state",)}


@pytest.mark.filterwarnings("ignore:.*a time limit cut them off")
@pytest.mark.parametrize(
    ("rewards", "expected", "masks"),
    [
        ("next.reward", np.arange(8) / 10, [1, 1, 0, 1, 1, 1, 0, 1]),
        ("success", [0, 0, 1, 0, 0, 0, 0, 1], [1, 1, 0, 1, 1, 1, 1, 0]),
        ("demonstrations", [0, 0, 1, 0, 0, 0, 1, 0, 1], [1, 1, 0, 1, 1, 1, 0, 1, 0]),
    ],
)
def test_rewards_by_argument(tmp_path, rewards, expected, masks):
    """Of the data, of success or of every end; a last transition counts where values end."""
    folder = write(tmp_path / "set", columns())
    dataset = floq.Dataset.load(folder, rewards=rewards, **KEYS)
    batch = all_of(dataset)
    np.testing.assert_allclose(batch.rewards, np.float32(expected))
    np.testing.assert_array_equal(batch.masks, masks)
    # Of the second episode, which fails, the last state is not known, nor of one that was cut.
    starts = [0, 1, 2, 3, 4, 5, 7, 8] if rewards == "success" else np.arange(len(masks))
    np.testing.assert_array_equal(batch.observations[:, 0], starts)


def test_what_is_left_open_is_asked_for(tmp_path):
    """Rewards, of which those that it holds are named."""
    folder = write(tmp_path / "set", columns())
    with pytest.raises(ValueError, match=r"--rewards.*it holds next\.reward, next\.done"):
        floq.Dataset.load(folder, **KEYS)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"codebase_version": "v2.1"}, "codebase_version is 'v2.1', and floq reads v3"),
        ({"total_frames": 10}, "total_frames is 10, and the files under data have 9 rows"),
        ({"features": {}}, "there are no features"),
    ],
)
def test_faults_of_the_description(tmp_path, changes, words):
    """What meta/info.json says wrongly is named."""
    folder = write(tmp_path / "set", columns(), **changes)
    with pytest.raises(ValueError, match=words):
        floq.Dataset.load(f"lerobot:{folder}", rewards="demonstrations", **KEYS)


def test_faults_of_rows(tmp_path):
    """The file, the episode and its row are named."""
    arrays = columns()
    arrays["action"][5, 1] = np.nan
    folder = write(tmp_path / "nan", arrays)
    with pytest.raises(ValueError, match=r"holds nan.*row 2 of episode 1 in chunk-000/file-000"):
        floq.Dataset.load(folder, rewards="demonstrations", **KEYS)
    arrays = columns()
    arrays["episode_index"] = np.array([0, 1, 0, 1, 1, 1, 1, 2, 2])
    folder = write(tmp_path / "mixed", arrays)
    with pytest.raises(ValueError, match="rows of an episode do not follow one another"):
        floq.Dataset.load(folder, rewards="demonstrations", **KEYS)
