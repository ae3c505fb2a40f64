"""Policies that read images and dictionaries leave as others do, and are served."""

import contextlib
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kinds import CONFIGS, untrained
from test_server import raw, url
from websockets.exceptions import ConnectionClosed

from floq.client import PolicyClient, pack, unpack
from floq.export import Policy, export_policy, in_memory, load_policy
from floq.export.card import card
from floq.export.decision import decision_of, program_of, reading_arrays
from floq.export.floq_policy import draw_noise
from floq.export.server import serving
from floq.networks import Encoder
from floq.networks.modules import named_leaves
from floq.observations import EncoderConfig, Frames, ObservationForm, Part
from floq.types import Statistics

BOTH = ObservationForm((Part("arm/place", (2,)), Part("camera", (8, 8, 1))), frames=3)
IMAGE = ObservationForm((Part("", (7, 8, 2)),))
ENCODER = EncoderConfig(channels=(2,), residual_blocks=1, features=4)


def seeing(name, form=BOTH, chunk=1):
    """A policy that reads what the form says, before its first update."""
    config = dataclasses.replace(CONFIGS[name], encoder=ENCODER, action_chunk=chunk)
    sizes = Statistics(form.nbytes * form.frames, 2 * chunk, -1.0, 0.0, form)
    return untrained(config, sizes)


def shown(steps, form=BOTH, seed=0):
    """What an environment shows at each step."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (steps, *form.parts[-1].shape), np.uint8)
    if form is IMAGE:
        return list(images)
    places = random.normal(size=(steps, 2)).astype(np.float32)
    pairs = zip(places, images, strict=True)
    return [{"arm": {"place": place}, "camera": camera} for place, camera in pairs]


def hold_as_trained(policy, trained, form=BOTH):
    """Through two episodes it acts as the policy in training on its own stack of frames."""
    decision = decision_of(trained.config, trained.state.parameters)
    assert decision is not None
    act, low, scale = jax.jit(decision.actions), np.array(trained.low), np.array([1.0, 2.0])
    actions, chunk, plan = [], trained.config.action_chunk, np.zeros(0)
    for episode in range(2):
        frames = Frames(1, form.nbytes, count=form.frames, dtype=np.uint8)
        for step, observation in enumerate(shown(4, form, seed=episode)):
            keep = frames.push if step else frames.begin
            keep(np.arange(1), form.pack(observation)[None])
            if step % chunk == 0:
                noise = draw_noise(policy.record, 1, [0, episode, step])
                inputs = map(jnp.asarray, (frames.stacked, *noise))
                plan = np.asarray(act(decision.modules, *inputs)).reshape(chunk, 2)
            actions.append(policy.act(observation))
            np.testing.assert_allclose(
                actions[-1], low + (plan[step % chunk] + 1) * scale, atol=1e-5
            )
        policy.reset()
    assert np.ptp(actions, axis=0).min() > 1e-4


FORMATS = ["jax", pytest.param("onnx", marks=pytest.mark.extras)]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "name",
    [
        "rebrac",
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ("best by a flow", "one step", "bc", "iql")
        ),
    ],
)
def test_it_acts_as_in_training(name, kind, tmp_path, shapes_unchecked):
    """Of a dictionary, three frames of it, which the policy keeps and `reset` begins anew."""
    trained = seeing(name)
    hold_as_trained(load_policy(export_policy(trained, tmp_path / "out", format=kind)), trained)


@pytest.mark.parametrize("kind", FORMATS)
def test_chunks_see_the_frames_of_every_step(kind, tmp_path, shapes_unchecked):
    """Also of those at which no new plan is made."""
    trained = seeing("one step", chunk=2)
    hold_as_trained(load_policy(export_policy(trained, tmp_path / "out", format=kind)), trained)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_alone(kind, tmp_path, shapes_unchecked):
    """It is one array, without a name, of any height and width; a batch is one of its rows."""
    trained = seeing("one step", IMAGE)
    policy = load_policy(export_policy(trained, tmp_path / "out", format=kind))
    hold_as_trained(policy, trained, IMAGE)
    seen = policy.record["observations"]
    assert (seen["shape"], seen["dtype"]) == ([7, 8, 2], "uint8")
    images = shown(3, IMAGE)
    policies = [Policy(policy.record, policy.program) for _ in range(2)]
    actions = policies[0].act(np.stack(images))
    assert actions.shape == (3, 2)
    np.testing.assert_allclose(policies[1].act(images[0]), actions[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_it_leaves_from_an_accelerator(kind, tmp_path, shapes_unchecked, monkeypatch):
    """Where networks are traced as for a GPU, with convolutions and pooling of its own."""
    monkeypatch.setattr("floq.processor.jax.default_backend", lambda: "gpu")
    trained = seeing("best by a flow")
    hold_as_trained(load_policy(export_policy(trained, tmp_path / "out", format=kind)), trained)


def test_an_observation_is_encoded_once(monkeypatch):
    """By each network that reads it, whatever the number of candidates, steps and samples."""
    trained, rows = seeing("best by a flow"), []
    features = Encoder.features

    def counted(self, arrays):
        rows.append(len(arrays[0]))
        return features(self, arrays)

    monkeypatch.setattr(Encoder, "features", counted)
    decision = reading_arrays(decision_of(trained.config, trained.state.parameters))
    seen = np.zeros((1, 3 * 2), np.float32), np.zeros((1, 8, 8, 3), np.uint8)
    noise = decision.draw(jax.random.split(jax.random.key(0), 1))
    jax.eval_shape(program_of(decision), named_leaves(decision.modules), *seen, *noise)
    assert rows == [1, 1]


def test_the_record_and_the_card_say_what_is_seen(policy):
    """Each array's shape and dtype by its place, and how many steps are read."""
    seen = policy.record["observations"]
    assert seen["frames"] == 3
    assert seen["parts"] == {
        "arm/place": {"shape": [2], "dtype": "float32"},
        "camera": {"shape": [8, 8, 1], "dtype": "uint8"},
    }
    words = "`arm/place`, 2 numbers and `camera`, bytes [8, 8, 1]; the last 3"
    assert words in card(policy.record)


def test_numpy_s_program_refuses_them(tmp_path):
    """The error names the ways out; nothing is written."""
    with pytest.raises(ValueError, match="export it with --format jax or onnx"):
        export_policy(seeing("rebrac"), tmp_path / "out", format="numpy")
    assert not any(tmp_path.iterdir())


PLACE, CAMERA = np.zeros(2), np.zeros((8, 8, 1), np.uint8)
WRONG = [
    ({"camera": CAMERA}, "'arm/place' of the observation is missing"),
    ({"arm": PLACE, "camera": CAMERA}, "'arm/place' of the observation is missing"),
    ({"arm": {"place": PLACE}, "camera": CAMERA[:4]}, "'camera' of the observation has the shape"),
    ({"arm": {"place": PLACE}, "camera": CAMERA[..., 0]}, "give \\[8, 8, 1\\]"),
    ({"arm": {"place": PLACE}, "camera": CAMERA / 255}, "dtype float64: give bytes"),
    ({"arm": {"place": PLACE * np.nan}, "camera": CAMERA}, "'arm/place' .* is not finite"),
    ({"arm": {"place": "xy"}, "camera": CAMERA}, "'arm/place' .* no array of numbers"),
    ({"arm": {"place": PLACE[None]}, "camera": CAMERA}, "are a batch"),
    (CAMERA, "missing"),
]


@pytest.fixture(scope="module")
def policy():
    """A policy that reads three frames of a dictionary."""
    return in_memory(seeing("one step"))


@pytest.mark.parametrize(("observation", "said"), WRONG)
def test_what_is_no_observation_is_told(policy, observation, said):
    """Which array of it, and what that must be."""
    with pytest.raises(ValueError, match=said):
        policy.act(observation)


@pytest.fixture(scope="module")
def server(policy):
    with serving(policy) as served:
        yield served


def client(server):
    return PolicyClient(url(server), server.token)


def test_a_session_sees_as_the_policy_itself(server, policy):
    """Dictionaries, nested or side by side as OpenPI's clients have them, and frames of its own."""
    local = Policy(policy.record, policy.program)
    with client(server) as remote, client(server) as other:
        assert remote.metadata["observations"]["parts"] == policy.record["observations"]["parts"]
        for seed in range(2):
            for observation in shown(3, seed=seed):
                wanted = local.act(observation)
                np.testing.assert_allclose(remote.act(observation), wanted, atol=1e-5)
                place, camera = observation["arm"]["place"], observation["camera"]
                beside = {"observation/arm/place": place, "observation/camera": camera}
                answer = other.infer(beside | {"prompt": "go"})
                np.testing.assert_allclose(answer["actions"], wanted[None], atol=1e-5)
            for each in (local, remote, other):
                each.reset()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"observation": {"camera": CAMERA}}, "'arm/place' of the observation is missing"),
        ({"observation": CAMERA}, "missing"),
        ({"observation": {"arm": {"place": PLACE}, "camera": CAMERA[:4]}}, "shape"),
        ({"observation": {"arm": {"place": PLACE}, "camera": CAMERA / 255}}, "dtype"),
        ({"observation": {"arm": {"place": PLACE[None]}, "camera": CAMERA[None]}}, "batch"),
        ({"observation/camera": CAMERA}, "missing"),
        ({"observation/camera": CAMERA, "observation": {}}, "one 'observation'"),
        ({"state": PLACE}, "unknown"),
        ({"observation/image": CAMERA}, "unknown"),
    ],
)
def test_a_server_says_what_is_wrong(server, request_, said):
    """By a text frame, after which the session is closed and others are served."""
    with raw(server) as connection:
        connection.recv()
        connection.send(pack(request_))
        answer = connection.recv()
        assert isinstance(answer, str)
        assert said in answer
        with pytest.raises(ConnectionClosed):
            connection.recv()
    with client(server) as remote:
        remote.act(shown(1)[0])


def test_whole_plans_are_refused_where_every_step_is_seen(policy):
    """A plan of two steps hides the observation between them."""
    record = policy.record | {"chunk": 2}
    planning = Policy(record, lambda place, camera, noise: np.zeros((len(place), 4)))
    with serving(planning) as server, raw(server) as connection:
        connection.recv()
        connection.send(pack({"observation": shown(1)[0]}))
        assert "'step': True" in connection.recv()


def test_requests_may_be_as_large_as_observations(policy):
    """A mebibyte, and twice an observation's bytes."""
    seen = {"shape": [1024, 512, 3], "dtype": "uint8", "frames": 1}
    record = policy.record | {"observations": seen}
    policy = Policy(record, lambda images, noise: np.zeros((len(images), 2)))
    with serving(policy) as server:
        with raw(server) as connection:
            connection.recv()
            connection.send(pack({"observation": np.zeros((1024, 512, 3), np.uint8)}))
            assert unpack(connection.recv())["actions"].shape == (1, 2)
        with raw(server) as connection:
            connection.recv()
            with contextlib.suppress(ConnectionClosed):
                connection.send(bytes(2**20 + 2 * 1024 * 512 * 3 + 1))
            with pytest.raises(ConnectionClosed):
                connection.recv()
