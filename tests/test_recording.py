"""Recordings of episodes: their pictures, and why there are none."""

import sys
from pathlib import Path

import numpy as np
import pytest

from floq.envs import EnvironmentSpec
from floq.recording import record, record_episodes
from tests.seen import seen_data

sys.path.append(str(Path(__file__).parent / "envs"))


def toy(**kwargs):
    return EnvironmentSpec("toy_environments:Toy-v0", kwargs)


def still(observations, keys):
    return np.zeros((len(observations), 2), np.float32)


@pytest.fixture
def pictures(monkeypatch):
    """Has the toy show the number of its step; gives the steps that are rendered."""
    import toy_environments

    rendered = []

    def render(self):
        rendered.append(self.time)
        return np.full((2, 2, 3), self.time, np.uint8)

    monkeypatch.setattr(toy_environments.Toy, "render", render, raising=False)
    monkeypatch.setattr(toy_environments.Toy, "metadata", {"render_modes": ["rgb_array"]})
    return rendered


def test_the_first_episode_of_an_evaluation_is_the_default():
    """As everywhere: the seed is 0 where nobody says."""
    default = record(still, toy(length=4), render=False)
    same = record(still, toy(length=4), seed=0, episode=0, render=False)
    np.testing.assert_array_equal(default.observations, same.observations)


def test_a_recording_without_pictures_says_why():
    """An environment that cannot render is recorded all the same."""
    played = record(still, toy(length=4), seed=0)
    assert len(played.rewards) == 4
    assert played.frames is None
    assert "no rendering here" in played.no_frames


@pytest.mark.parametrize("frames", [1, 2])
def test_images_and_vectors_are_had_from_a_recording(frames):
    """By the form, of the newest of several frames, as the docstring says."""

    class Policy:
        def __call__(self, observations, keys):
            return np.ones((len(observations), 1), np.float32)

    policy = Policy()
    policy.frames = frames
    spec = EnvironmentSpec("tests.seen:make_seen", {"show": "both"})
    played = record(policy, spec, render=False)
    form = seen_data("both")[0].form._replace(frames=frames)
    seen = form.unpack(played.observations[:, -form.nbytes :])
    length = len(played.actions)
    assert played.observations.shape == (length + 1, frames * form.nbytes)
    assert seen["camera"].shape == (length + 1, 8, 8, 1)
    np.testing.assert_array_equal(seen["camera"][:, 0, 0, 0], np.arange(length + 1))
    np.testing.assert_allclose(seen["place"][:, 1], np.arange(length + 1) / 6, rtol=1e-6)


@pytest.mark.parametrize(("length", "count", "stride"), [(4, 5, 1), (9, 5, 2), (20, 3, 8)])
def test_pictures_are_spread_over_the_episode(length, count, stride, pictures):
    """At most max_frames pictures, each showing the step that its place says."""
    played = record(still, toy(length=length), seed=0, max_frames=5)
    assert played.no_frames == ""
    assert played.frame_stride == stride
    np.testing.assert_array_equal(played.frames[:, 0, 0, 0], stride * np.arange(count))


def test_what_cannot_render_is_closed(monkeypatch):
    """The environments that were built to render are closed before others take their place."""
    import toy_environments

    events, reset = [], toy_environments.Toy.reset

    def resetting(self, **options):
        events.append(("reset", self))
        return reset(self, **options)

    monkeypatch.setattr(toy_environments.Toy, "metadata", {"render_modes": ["rgb_array"]})
    monkeypatch.setattr(toy_environments.Toy, "reset", resetting)
    monkeypatch.setattr(toy_environments.Toy, "close", lambda self: events.append(("close", self)))
    record(still, toy(length=2), seed=0)
    assert [what for what, _ in events] == ["reset", "close", "reset", "close"]
    first, second = events[0][1], events[2][1]
    assert [env for _, env in events] == [first, first, second, second]


@pytest.mark.parametrize("most", [-1, 0, 1])
def test_fewer_than_two_pictures_are_refused(most):
    """They could not be spread over an episode."""
    with pytest.raises(ValueError, match=f"max_frames is {most}: give 2 or more"):
        record(still, toy(length=4), seed=0, max_frames=most)


@pytest.mark.parametrize(("length", "expected", "most"), [(40, 40.0, 10), (20, 40.0, 6)])
def test_fewer_pictures_are_thrown_away_where_the_length_is_known(length, expected, most, pictures):
    """About the same steps are shown, of which fewer were rendered, also in a shorter episode."""
    played = record_episodes(
        still, toy(length=length), seed=0, episodes=(0,), max_frames=5, expected=expected
    )[0]
    stride = played.frame_stride
    assert 3 <= len(played.frames) <= 5
    np.testing.assert_array_equal(played.frames[:, 0, 0, 0], stride * np.arange(len(played.frames)))
    assert stride * len(played.frames) > length - stride
    # One picture tells whether it can render at all.
    assert len(pictures) - 1 <= most
