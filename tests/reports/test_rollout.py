"""Videos of rollouts: what stands beside what, and the files."""

import io

import numpy as np
import pytest

from floq.cli import main
from floq.recording import Recording, record, record_episodes
from floq.reports.rollout import rollout_video
from floq.reports.video import encoded, side_by_side


def recording(length, stride, success=None):
    frames = np.zeros((length // stride + 1, 40, 80, 3), np.uint8)
    frames += np.arange(len(frames), dtype=np.uint8)[:, None, None, None]
    states, nothing = np.zeros((length + 1, 2), np.float32), np.zeros((length, 1), np.float32)
    return Recording(states, nothing, np.zeros(length), success, frames, stride, "")


def test_episodes_beside_each_other_are_those_played_alone(finished):
    """To the bit, whatever their neighbours do."""
    spec = finished.config.environment
    many = record_episodes(finished.policy, spec, seed=2, episodes=(4, 1), render=False)
    for episode, one in zip((4, 1), many, strict=True):
        alone = record(finished.policy, spec, seed=2, episode=episode, render=False)
        np.testing.assert_array_equal(one.observations, alone.observations)
        np.testing.assert_array_equal(one.actions, alone.actions)
        np.testing.assert_array_equal(one.rewards, alone.rewards)


def test_episodes_go_in_step_and_stay_at_their_end():
    """Pictures of every second and every step, shown every second; the shorter one waits."""
    played = [recording(8, 2), recording(3, 1, success=True)]
    video = side_by_side(played, [np.linspace(0, 1, 8), np.zeros(3)])
    assert video.shape == (5, 120 + 78, 240 + 6 + 240, 3)
    assert video.dtype == np.uint8
    assert [int(frame[60, 100, 0]) for frame in video] == [0, 1, 2, 3, 4]
    assert [int(frame[60, 400, 0]) for frame in video] == [0, 2, 3, 3, 3]
    # The value that rises ends higher on the picture than it began.
    blue = [np.argwhere((frame[120:, :240] == (0, 114, 178)).all(axis=-1)) for frame in video]
    assert blue[-1][:, 0].min() < blue[0][:, 0].min()


def test_without_values_there_are_words_alone():
    """An algorithm without a critic still has its video."""
    assert side_by_side([recording(4, 1)], None).shape == (5, 120 + 18, 240, 3)


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_files_hold_every_frame(kind):
    """Pillow reads back as many as there were."""
    from PIL import Image

    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3)).astype(np.uint8)
    with Image.open(io.BytesIO(encoded(frames, kind))) as file:
        assert (file.size, file.n_frames) == ((48, 32), 6)


@pytest.mark.extras
def test_mp4_holds_every_frame():
    """Of a size that H.264 takes: an odd edge is cut off."""
    import av

    frames = np.zeros((6, 33, 49, 3), np.uint8)
    with av.open(io.BytesIO(encoded(frames, "mp4"))) as file:
        shapes = [frame.to_ndarray(format="rgb24").shape for frame in file.decode(video=0)]
    assert shapes == [(32, 48, 3)] * 6


def test_what_cannot_be_is_refused_before_any_work(tmp_path, finished, capsys):
    """Another kind of file, no such number of episodes, no run, no such seed."""
    with pytest.raises(ValueError, match=r"rollout\.avi is no video that floq writes"):
        rollout_video(finished.directory, tmp_path / "rollout.avi")
    with pytest.raises(ValueError, match="episodes is 0"):
        rollout_video(finished.directory, tmp_path / "rollout.webp", episodes=0)
    with pytest.raises(ValueError, match="has no seed 9"):
        rollout_video(finished.directory, tmp_path / "rollout.webp", policy_seed=9)
    assert main(["record", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
