import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import pytest

from floq.algorithms import floq
from floq.critics.flow import FlowCriticConfig
from floq.networks import NetworkConfig
from floq.settings import from_json, to_json


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
