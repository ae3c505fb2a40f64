import dataclasses
import inspect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from floq.algorithms import algorithm_of, floq, fql
from floq.critics.flow import FlowCriticConfig
from floq.networks import NetworkConfig
from floq.settings import (
    check_not_negative,
    check_positive,
    from_json,
    given,
    takes_settings,
    to_json,
)
from floq.training import Online, Schedule


class Range(NamedTuple):
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (8, 4)
    pair: tuple[str, float] = ("a", 0.5)
    kind: Literal["plain", "fancy"] = "plain"


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()
    either: Inner | None = None
    number: int | str = 3
    limit: float | None = None
    flag: bool = False
    bounds: Range = Range(-1.0, 1.0)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"limit is {self.limit}: give 0 or more.")


def through_text(value):
    return from_json(type(value), json.loads(json.dumps(to_json(value))))


@pytest.mark.parametrize(
    "value",
    [
        Outer(),
        Outer(
            inner=Inner(sizes=(), pair=("b", 1e-300), kind="fancy"),
            either=Inner(sizes=(1,)),
            number="three",
            limit=0.1,
            flag=True,
            bounds=Range(0.30000000000000004, 2),
            extra={"a": [1, None]},
        ),
        floq.Config(
            critic=FlowCriticConfig(network=NetworkConfig((64, 64), residual_blocks=2)),
            normalize_q=True,
        ),
    ],
)
def test_settings_survive_json(value):
    """What is read equals what was written: nested, tuples, None, literals and every float bit."""
    assert through_text(value) == value


def edited(**changes):
    return {**to_json(Outer()), **changes}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (edited(colour=1), "config has no setting named colour: Outer has inner, either"),
        ({"inner": to_json(Inner())}, "config lacks either, number, limit, flag, bounds, extra"),
        (
            {name: value for name, value in edited().items() if name not in ("number", "limit")},
            'config lacks number, limit: .*add "number": 3, "limit": null: the defaults',
        ),
        (edited(inner={**to_json(Inner()), "kind": "odd"}), "config.inner.kind is 'odd'.*plain"),
        (edited(inner={**to_json(Inner()), "sizes": [8, 2.5]}), r"config.inner.sizes\[1\] is 2.5"),
        (edited(inner={**to_json(Inner()), "sizes": 8}), "config.inner.sizes is 8"),
        (edited(inner={**to_json(Inner()), "pair": ["a"]}), "config.inner.pair has 1 entries.* 2"),
        (edited(inner=None), "config.inner is None: it must be an object"),
        (edited(flag=1), "config.flag is 1: it must be of type bool"),
        (edited(limit=True), "config.limit is True: it must be of type float"),
        (edited(limit=-1.0), "config: limit is -1.0: give 0 or more"),
        ([], r"config is \[\]: it must be an object"),
    ],
)
def test_a_wrong_setting_is_named(data, message):
    """Nothing is guessed: an unknown, missing or wrong setting is an error that names it."""
    with pytest.raises(ValueError, match=message):
        from_json(Outer, data)


def test_a_value_that_json_cannot_hold_is_refused():
    """An object that JSON has no form for is an error when it is written, not when it is read."""
    with pytest.raises(ValueError, match="is a function, which cannot be written"):
        to_json({"hook": to_json})


def made(kind, *arguments, **settings):
    """The settings as users make them: in pytest alone the arguments' types are checked before."""
    new = object.__new__(kind)
    inspect.unwrap(kind.__init__)(new, *arguments, **settings)
    return new


@pytest.mark.parametrize(
    ("make", "plain"),
    [
        (lambda: made(Schedule, evaluation_interval=1e4), Schedule(evaluation_interval=10_000)),
        (lambda: made(Online, steps=1e5), Online(steps=100_000)),
        (
            lambda: made(floq.Config, learning_rate_decay=1e6),
            floq.Config(learning_rate_decay=1_000_000),
        ),
        (lambda: made(FlowCriticConfig, integration_steps=np.int64(8)), FlowCriticConfig()),
        (
            lambda: made(FlowCriticConfig, noise_coverage=np.array(1)),
            FlowCriticConfig(noise_coverage=1.0),
        ),
        (lambda: made(FlowCriticConfig, backup=np.str_("expected")), FlowCriticConfig()),
        (lambda: made(NetworkConfig, layer_norm=np.True_), NetworkConfig(layer_norm=True)),
        (lambda: made(NetworkConfig, [64, 64.0]), NetworkConfig((64, 64))),
        (lambda: made(NetworkConfig, np.array([64.0, 64.0])), NetworkConfig((64, 64))),
        (lambda: made(NetworkConfig, (jnp.int32(64), np.int8(64))), NetworkConfig((64, 64))),
    ],
)
def test_what_stands_for_a_setting_is_that_setting(make, plain):
    """Whole floats, scalars and arrays become the declared types: equal, hashed, written alike."""
    settings = make()
    assert repr(settings) == repr(plain)
    assert hash(settings) == hash(plain)
    assert repr(through_text(settings)) == repr(plain)


class Derived(FlowCriticConfig):
    pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(floq.Config, learning_rate="3e-4"), "Config.learning_rate is '3e-4'.* float"),
        (lambda: made(floq.Config, discount=None), "Config.discount is None.* float"),
        (lambda: made(floq.Config, batch_size=math.nan), "Config.batch_size is nan.* whole number"),
        (lambda: made(floq.Config, learning_rate=math.inf), "Config.learning_rate is inf.* finite"),
        (lambda: made(floq.Config, learning_rate=10**400), "Config.learning_rate is 1000.* finite"),
        (lambda: made(floq.Config, normalize_q=1), "Config.normalize_q is 1.* bool"),
        (lambda: made(floq.Config, batch_size=2**63), r"Config.batch_size is 92.* below 2\*\*63"),
        (lambda: made(Online, steps=1e300), r"Online.steps is 1e\+300.* below 2\*\*63"),
        (lambda: made(Online, steps=True), "Online.steps is True.* int"),
        (lambda: made(Online, steps=2000.5), "Online.steps is 2000.5.* whole number"),
        (lambda: made(NetworkConfig, (64, "64")), r"NetworkConfig.hidden_sizes\[1\] is '64'.* int"),
        (lambda: made(NetworkConfig, 64), "NetworkConfig.hidden_sizes is 64.* tuple"),
        (lambda: made(NetworkConfig, "64"), "NetworkConfig.hidden_sizes is '64'.* tuple"),
        (lambda: made(NetworkConfig, np.array([[64]])), r"hidden_sizes\[0\] is \[64\].* int"),
        (lambda: made(NetworkConfig, precision=32), "NetworkConfig.precision is 32.* bfloat16"),
        (lambda: made(floq.Config, critic={}), "Config.critic is {}.* FlowCriticConfig"),
        (
            lambda: made(floq.Config, critic=Derived()),
            "must be of type FlowCriticConfig itself.*Derived",
        ),
        (lambda: made(fql.Config, critic=Derived()), "QuantileCriticConfig or .* itself.*Derived"),
        (lambda: made(fql.Config, critic=3), "ScalarCriticConfig or .* FlowCriticConfig"),
    ],
)
def test_what_stands_for_no_setting_is_refused(make, message):
    """Anything else is an error as the settings are made: its full name, value and what is due."""
    with pytest.raises(ValueError, match=message):
        make()


def test_arguments_are_taken_as_settings_are():
    """The same holds for a function's keyword arguments, by the types of its signature."""

    @takes_settings("steps", "seeds", "range")
    def function(*, steps: int = 1, seeds: Sequence[int] | None = None, range: Any = None, other=0):
        return steps, seeds, range, other

    assert repr(function(steps=1e3, seeds=np.arange(2))) == "(1000, (0, 1), None, 0)"
    assert function(seeds=range(2), other="x") == (1, (0, 1), None, "x")
    for settings, message in [({"steps": "5"}, "steps is '5'"), ({"seeds": 5}, "seeds is 5")]:
        with pytest.raises(ValueError, match=message):
            function(**settings)


def test_a_number_of_either_type_stays_what_it_is():
    """Where an int and a float will both do, neither becomes the other."""
    for value in (1, 1.0):
        assert repr(given(int | float, value, name="low")) == repr(value)


def test_a_class_derived_from_a_config_is_not_taken_for_it():
    """Neither an algorithm nor a critic is chosen by what a config is derived from."""

    @dataclasses.dataclass(frozen=True)
    class Mine(floq.Config):
        extra: int = 0

    with pytest.raises(TypeError, match=r"Mine is not an algorithm's config. It is derived from"):
        algorithm_of(Mine())
    assert algorithm_of(floq.Config()) == ("floq", floq)
    with pytest.raises(ValueError, match=r"Config.critic is Derived\(.*registered by a name"):
        inspect.unwrap(fql.Config.__init__)(object.__new__(fql.Config), critic=Derived())


@pytest.mark.parametrize(
    ("check", "value", "due"),
    [
        (check_positive, 0, "give a whole number, 1 or more"),
        (check_positive, 0.0, "give a number above 0"),
        (check_positive, math.nan, "give a number above 0"),
        (check_not_negative, -1, "give 0 or more"),
        (check_not_negative, math.nan, "give 0 or more"),
    ],
)
def test_numbers_below_their_range_are_named(check, value, due):
    """The first of them is, with its value; those in range pass."""
    settings = Outer(number=1, extra=value)
    check(settings, "number")
    with pytest.raises(ValueError, match=rf"extra is {value}: {due}\."):
        check(settings, "number", "extra")
