"""Published settings and figures."""

import dataclasses
import types

import jaxtyping
import pytest

from floq import algorithms
from floq.algorithms import algorithm_of, floq, fql
from floq.cli import main
from floq.critics import CriticConfig, FlowCriticConfig, register_critic
from floq.networks import NetworkConfig
from floq.presets import methods
from floq.presets.changes import fast, small
from floq.presets.domains import DOMAINS, VISUAL
from floq.presets.methods import METHODS, find_preset, preset, register_preset
from floq.presets.published import ALL_TEN, FIGURES, published_success
from floq.tasks import task_names
from tests.registrations import forget_registrations


def test_every_published_setting_is_for_a_task_that_exists():
    """The keys are exact names of datasets, whose five tasks can all be loaded by name."""
    known = set(task_names())
    for method in METHODS.values():
        assert set(method.configs) <= {*DOMAINS, *VISUAL}
        for config in (*method.configs.values(), method.start):
            algorithm_of(config)
    for dataset in (*DOMAINS, *VISUAL):
        stem = dataset.removesuffix("-v0")
        assert {f"{stem}-singletask-task{number}-v0" for number in range(1, 6)} <= known


@pytest.mark.parametrize("method", ["floq", "floq-best", "floq-online", "fql", "fql-iqn"])
def test_a_method_of_the_tables_has_settings_for_all_ten_domains(method):
    """And for no others, so that nothing is claimed for a task that nobody has run."""
    assert set(METHODS[method].configs) == set(DOMAINS)


def test_settings_are_the_published_ones():
    """Spot checks against the paper's tables."""
    giant = preset("floq", "antmaze-giant-navigate-singletask-task3-v0")
    assert (giant.discount, giant.batch_size, giant.critic.aggregation) == (0.995, 512, "min")
    assert giant.critic.integration_steps == 8
    assert preset("floq-best", "antmaze-giant-navigate-v0").critic.integration_steps == 4
    assert preset("floq-online", "humanoidmaze-large-navigate-v0").critic.integration_steps == 16
    assert preset("floq-online", "antsoccer-arena-navigate-v0").bc_coefficient == 30
    assert preset("floq-best", "puzzle-4x4-play-v0").critic.noise_coverage == 0.25
    assert preset("floq", "cube-double-play-v0").critic.network.hidden_sizes == (512, 512)
    assert preset("fql", "humanoidmaze-large-navigate-v0").bc_coefficient == 30
    assert preset("floq", "humanoidmaze-large-navigate-v0").bc_coefficient == 20
    resnet = preset("fql-resnet", "humanoidmaze-large-navigate-v0").critic.network
    assert (len(resnet.hidden_sizes), resnet.residual_blocks) == (2, 4)


@pytest.mark.parametrize("base", ["floq", "fql"])
@pytest.mark.parametrize(
    ("form", "changes"),
    [
        ("bfn", {"candidates": 4, "target_candidates": 4}),
        ("qc", {"candidates": 32, "target_candidates": 32, "action_chunk": 5}),
        ("nstep", {"candidates": 4, "target_candidates": 4, "n_step": 5}),
    ],
)
def test_what_another_paper_adds_is_all_that_differs(base, form, changes):
    """For every task and any other, so that both critics are compared under the same policy."""
    method, added = METHODS[base], METHODS[f"{base}-{form}"]
    assert set(added.configs) == set(DOMAINS)
    for dataset, config in method.configs.items():
        assert added.configs[dataset] == dataclasses.replace(config, **changes)
    assert added.start == dataclasses.replace(method.start, **changes)
    assert "2507.07969" in added.source


def test_other_tasks_get_a_starting_point_that_says_so():
    """Without published settings: normalised Q, α from the advised grid, and how to tune."""
    for method in METHODS:
        found = find_preset(method, "cube-triple-play-singletask-v0")
        assert not found.published
        assert "no published settings" in found.source
        # That for small networks acts by candidates, whose order no scale changes.
        if method.startswith(("floq", "fql")) and method != "floq-small":
            assert found.config.normalize_q
    assert find_preset("floq", "scene-play-singletask-v0").published


def test_names_are_never_matched_in_part():
    """A dataset whose name contains a published one's is another dataset."""
    assert not find_preset("floq", "antmaze-large-navigate-oraclerep-v0").published
    with pytest.raises(ValueError, match=r"'flo': did you mean floq\? There are floq, floq-best"):
        preset("flo", "scene-play-v0")


@pytest.mark.parametrize("name", [3, None, METHODS["floq"].start])
def test_what_is_no_name_is_refused_in_a_sentence(name, monkeypatch):
    """Settings in the place of their name, most likely."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # As outside of tests.
    with pytest.raises(ValueError, match=r"the name of the algorithm is .*: it must be of type"):
        preset(name)


def test_settings_of_ones_own_have_a_name(monkeypatch):
    """Everywhere, and others where they are given; names of the library's stay the library's."""
    monkeypatch.setattr(methods, "METHODS", dict(METHODS))
    config = floq.Config(batch_size=8)
    on_scene = dataclasses.replace(config, discount=0.9)
    for _ in range(2):  # As a module does that is loaded again.
        register_preset("mine", config, datasets={"scene-play-v0": on_scene})
    assert preset("mine") == preset("mine", "cube-single-play-singletask-v0") == config
    assert preset("mine", "scene-play-singletask-task3-v0") == on_scene
    assert find_preset("mine", None).source == "mine, settings of your own"
    for taken in ("floq", "fql-iqn", "iql"):
        with pytest.raises(ValueError, match=f"preset '{taken}' clashes"):
            register_preset(taken, config)
    with pytest.raises(TypeError, match="is not an algorithm's config"):
        register_preset("none", NetworkConfig())
    assert preset("bc") == METHODS["bc"].start


def test_an_algorithm_without_presets_has_its_defaults(monkeypatch, capsys):
    """Unless they are no defaults, which is said."""

    @dataclasses.dataclass(frozen=True)
    class Config:
        discount: float
        batch_size: int = 4
        action_chunk: int = 1
        n_step: int = 1

    monkeypatch.setattr(algorithms, "REGISTERED", dict(algorithms.REGISTERED))
    rule = types.SimpleNamespace(Config=Config, init=len, update=len, act=len)
    algorithms.register_algorithm("bare", rule)
    with pytest.raises(ValueError, match=r"bare has settings without a default: .*discount"):
        preset("bare")
    assert main(["presets"]) == 0
    said = "bare: an algorithm without a docstring\n  without presets: bare has settings without"
    assert said in capsys.readouterr().out
    for doc, shown in (("\nWhat it is.\n\nMore.", "What it is."), (7, "an algorithm without")):
        rule.__doc__ = doc
        assert main(["presets"]) == 0
        assert f"bare: {shown}" in capsys.readouterr().out
    assert find_preset("altered", None).source == "the defaults of altered"


def test_small_networks_replace_all_networks():
    """Every network of a config and its encoder have the small size; nothing else changes."""
    config = small(METHODS["floq"].start, width=8, depth=2)
    for network in (config.critic.network, config.distilled.network, config.policy.network):
        assert network.hidden_sizes == (8, 8)
    assert config.critic.network.layer_norm
    assert not config.policy.network.layer_norm
    assert (config.encoder.channels, config.encoder.features) == ((8, 16, 16), 8)
    back = dataclasses.replace(
        config,
        critic=dataclasses.replace(config.critic, network=NetworkConfig(layer_norm=True)),
        distilled=dataclasses.replace(config.distilled, network=NetworkConfig(layer_norm=True)),
        policy=dataclasses.replace(config.policy, network=NetworkConfig()),
        encoder=METHODS["floq"].start.encoder,
    )
    assert back == METHODS["floq"].start


def test_published_figures_are_shares_of_success():
    """By dataset, and by task where a task's own figure is known."""
    assert published_success("cube-double-play-v0", "floq") == 0.47
    assert published_success("cube-double-play-v0", "fql-1m") == 0.29
    assert published_success("cube-double-play-singletask-task4-v0", "floq") == 0.13
    assert published_success("cube-double-play-singletask-v0", "floq") == 0.42
    assert published_success("cube-double-play-singletask-v0", "fql") is None
    assert published_success("cube-triple-play-v0", "floq") is None
    assert set(FIGURES) <= set(DOMAINS)
    assert max(ALL_TEN, key=ALL_TEN.__getitem__) == "floq-best"


@pytest.mark.parametrize("method", METHODS)
def test_fast_settings_change_the_work_and_nothing_else(method):
    """Every network multiplies as fast as it can, and only floq has something to distil."""
    config = METHODS[method].start
    faster = fast(config)
    kept = {
        field.name
        for field in dataclasses.fields(config)
        if not dataclasses.is_dataclass(getattr(config, field.name))
    } - {"distillation_samples", "distillation_steps"}
    assert all(getattr(faster, name) == getattr(config, name) for name in kept)
    assert faster.policy.network.precision == "fastest"
    assert faster.policy.network.hidden_sizes == config.policy.network.hidden_sizes
    if isinstance(config, floq.Config):
        assert faster.critic.network.precision == faster.distilled.network.precision == "fastest"
        assert (faster.distillation_samples, faster.distillation_steps) == (2, 1)


def test_fast_settings_of_a_flow_with_a_single_sample():
    """No more samples are distilled than there are."""
    config = floq.Config(critic=FlowCriticConfig(noise_samples=1))
    assert fast(config).distillation_samples == 1


@dataclasses.dataclass(frozen=True)
class Demanding(CriticConfig):
    """A critic's settings of somebody's own, one of which has no default."""

    spread: float
    bins: int = 8

    def create(self, statistics, *, discount, key):
        raise AssertionError("nothing is made of settings that are listed")


def test_settings_without_a_default_are_listed(monkeypatch, capsys):
    """`floq presets` says what they are, and goes on to its end."""
    forget_registrations(monkeypatch)
    register_critic("demanding", Demanding)
    register_preset("mine", fql.Config(critic=Demanding(spread=0.5)))
    assert main(["presets"]) == 0
    out = capsys.readouterr().out
    assert "critic Demanding, critic.spread 0.5" in out
    assert "uses these settings" in out
