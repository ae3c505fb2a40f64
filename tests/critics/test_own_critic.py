"""A critic of one's own under an algorithm that takes any: trained, written, read, refused."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

import floq
from floq import settings
from floq.settings import from_json, to_json


@dataclasses.dataclass(frozen=True)
class ShiftedCriticConfig(floq.NetworkCriticConfig):
    shift: float = 1.0

    def create(self, statistics, *, discount, key):
        return ShiftedCritic(statistics, self, key=key)


class ShiftedCritic(floq.NetworkCritic):
    """The value is the output and a constant."""

    def samples_of(self, outputs):
        return outputs[..., 0] + self.config.shift

    def loss(self, observations, actions, targets, draws):
        return ((self.samples_of(self.outputs(observations, actions)) - targets) ** 2).mean()


@pytest.fixture
def registered(monkeypatch):
    """The critic is known in one test."""
    known = {base: dict(kinds) for base, kinds in settings._KINDS.items()}
    monkeypatch.setattr(settings, "_KINDS", known)
    floq.register_critic("shifted", ShiftedCriticConfig)
    return known[floq.CriticConfig]


def config(**changes):
    fql = floq.FQLConfig(critic=ShiftedCriticConfig(**changes), batch_size=4)
    return floq.small(fql, width=8, depth=1)


def test_it_trains_and_is_read_back(registered, tmp_path):
    """Its name stands in config.json; a loaded run has it, with its settings and its values."""
    generator = np.random.default_rng(0)
    arrays = [generator.uniform(-1, 1, (40, 2)).astype(np.float32) for _ in range(3)]
    dataset = floq.Dataset.from_transitions(
        *arrays[:2], np.linspace(-1, 0, 40, dtype=np.float32), np.ones(40, np.float32), arrays[2]
    )
    run = floq.train(
        config(shift=3.0), dataset, directory=tmp_path / "run", steps=2, progress=False
    )
    written = json.loads((run.directory / "config.json").read_text())["config"]["critic"]
    assert (written["kind"], written["shift"]) == ("shifted", 3.0)
    critic = floq.load_run(run.directory).state_of(0).parameters.critic
    assert isinstance(critic, ShiftedCritic)
    pairs = jnp.asarray(arrays[0][:3]), jnp.asarray(arrays[1][:3])
    values = critic.values(*pairs)
    plain = critic.outputs(*pairs)[..., 0].mean(axis=(0, 2))
    np.testing.assert_allclose(values, plain + 3.0, rtol=1e-5)

    # Elsewhere, where nobody has registered it, the run is refused by that name.
    del registered["shifted"]
    with pytest.raises(ValueError, match=r"config.critic.kind is 'shifted'.*--plugin MODULE"):
        floq.load_run(run.directory)


def test_one_that_is_not_registered_is_refused_where_it_is_given():
    """Before any training: the settings themselves could not be written."""
    with pytest.raises(ValueError, match=r"critic is ShiftedCriticConfig.*registered by a name"):
        floq.FQLConfig(critic=ShiftedCriticConfig())


def test_clashes_and_wrong_classes_are_refused(registered):
    """A name or a class twice, one that is not frozen, one that is no critic's."""
    floq.register_critic("shifted", ShiftedCriticConfig)
    with pytest.raises(ValueError, match="'scalar' for ShiftedCriticConfig clashes"):
        floq.register_critic("scalar", ShiftedCriticConfig)
    with pytest.raises(ValueError, match="'twice' for ShiftedCriticConfig clashes"):
        floq.register_critic("twice", ShiftedCriticConfig)
    with pytest.raises(TypeError, match="derive it from CriticConfig"):
        floq.register_critic("network", floq.NetworkConfig)


def test_a_config_must_make_its_critic(registered):
    """`create` is the one thing that it must have of its own."""

    @dataclasses.dataclass(frozen=True)
    class Idle(floq.NetworkCriticConfig):
        pass

    with pytest.raises(TypeError, match="Idle has no create"):
        floq.register_critic("idle", Idle)


@pytest.mark.parametrize(
    "kind",
    [
        floq.ScalarCriticConfig,
        floq.QuantileCriticConfig,
        floq.CategoricalCriticConfig,
        floq.FlowCriticConfig,
    ],
)
def test_files_of_former_versions_do_not_say_the_kind(kind):
    """Each of the library's critics is told by its fields."""
    data = to_json(floq.FQLConfig(critic=kind()))
    assert data["critic"].pop("kind")
    assert from_json(floq.FQLConfig, data) == floq.FQLConfig(critic=kind())
