"""The open registry of algorithms: what it takes, and what it refuses by name."""

import dataclasses
import importlib.metadata
import types

import pytest
import tiny_rule

import floq
from floq import algorithms
from floq.algorithms import algorithm_names, algorithm_of, find_algorithm, register_algorithm


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers is forgotten afterwards."""
    monkeypatch.setattr(algorithms, "REGISTERED", dict(algorithms.REGISTERED))


def own(kind="Own", **changes):
    """An algorithm with a config class of its own."""
    config = dataclasses.make_dataclass(kind, [], bases=(tiny_rule.Config,), frozen=True)
    parts = {"Config": config, "init": tiny_rule.init, "update": tiny_rule.update}
    return types.SimpleNamespace(**{**parts, "act": tiny_rule.act, **changes})


def test_a_registered_algorithm_is_found_by_name_and_by_config():
    """Registering it again changes nothing."""
    rule = own()
    for _ in range(2):
        register_algorithm("own", rule)
    assert find_algorithm("own") is rule
    assert algorithm_of(rule.Config()) == ("own", rule)
    assert "own" in algorithm_names()


def test_an_algorithm_that_is_defined_anew_takes_the_formers_place():
    """As when a notebook's cell is run again; settings of the former class are of no use then."""
    former, later = own(), own()
    register_algorithm("own", former)
    register_algorithm("own", later)
    assert find_algorithm("own") is later
    with pytest.raises(TypeError, match="is not an algorithm's config"):
        algorithm_of(former.Config())


def test_a_name_in_place_of_settings_is_told_where_they_are():
    """It may be a preset's."""
    with pytest.raises(TypeError, match=r"a name: .*floq\.preset\('floq-small'\)"):
        algorithm_of("floq-small")


@pytest.mark.parametrize("part", ["Config", "init", "update", "act"])
def test_a_missing_part_is_named(part):
    """Nothing of it is registered then."""
    rule = own()
    delattr(rule, part)
    with pytest.raises(TypeError, match=rf"'own' lacks {part}: it needs Config, init, update, act"):
        register_algorithm("own", rule)
    assert "own" not in algorithm_names()


def test_a_config_that_training_could_not_read_is_refused():
    """It must be a frozen dataclass, and have the four settings; a property will do."""
    thawed = dataclasses.make_dataclass("Thawed", [("batch_size", int, 4)])
    with pytest.raises(TypeError, match=r"Config of algorithm 'own' is .*frozen=True"):
        register_algorithm("own", own(Config=thawed))
    short = dataclasses.make_dataclass(
        "Short",
        [("batch_size", int), ("discount", float, 0.9)],
        namespace={"n_step": property(lambda self: 1)},
        frozen=True,
    )
    with pytest.raises(TypeError, match="lacks action_chunk: training reads batch_size, discount"):
        register_algorithm("own", own(Config=short))


def test_a_setting_that_can_be_changed_in_place_is_named():
    """It could not be part of a program, which a later training of equal settings takes up."""
    listed = dataclasses.make_dataclass(
        "Listed", [("sizes", list, None)], bases=(tiny_rule.Config,), frozen=True
    )
    register_algorithm("own", own(Config=listed))
    with pytest.raises(TypeError, match=r"config\.sizes is \[8\]: .*a tuple in place of a list"):
        algorithm_of(listed(sizes=[8]))


def test_names_and_configs_belong_to_one_algorithm():
    """A clash names both; so does a library algorithm's."""
    register_algorithm("own", own())
    with pytest.raises(ValueError, match=r"'own' with .*Other clashes with 'own'"):
        register_algorithm("own", own("Other"))
    with pytest.raises(ValueError, match=r"'other' .* clashes with 'fql', which is registered"):
        register_algorithm("other", own(Config=floq.FQLConfig))
    with pytest.raises(ValueError, match="clashes with 'floq'"):
        register_algorithm("floq", own())


def test_what_nobody_knows_is_refused_with_the_way_out():
    """By name, by config, and a config that is derived from a known one."""
    with pytest.raises(ValueError, match=r"'nope': there is floq, fql.*floq.register_algorithm"):
        find_algorithm("nope")
    with pytest.raises(TypeError, match=r"Own is not an algorithm's config\. Give that of floq"):
        algorithm_of(own().Config())

    @dataclasses.dataclass(frozen=True)
    class Derived(floq.FQLConfig):
        pass

    with pytest.raises(TypeError, match="It is derived from that of fql, but is not it"):
        floq.train(Derived(), None, directory="nowhere")


def test_an_installed_package_names_its_algorithms(monkeypatch):
    """Those of the entry-point group are known by name and config; a broken one is named."""
    points = importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(name, value, "floq.algorithms")
        for name, value in (("rule", "tiny_rule"), ("broken", "no_such_package.rule"))
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: points)
    assert {"rule", "broken"} <= set(algorithm_names())
    assert find_algorithm("rule") is tiny_rule
    assert algorithm_of(tiny_rule.Config()) == ("rule", tiny_rule)
    with pytest.raises(ValueError, match=r"'broken' cannot be loaded from no_such_package\.rule"):
        find_algorithm("broken")


def test_what_studies_alter_is_found_as_a_users_would_be():
    """The package itself names it, in the same group."""
    points = importlib.metadata.entry_points(group="floq.algorithms")
    assert "floq.studies.altered" in {point.value for point in points}
