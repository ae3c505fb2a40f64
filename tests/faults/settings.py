"""Settings of every kind for every class, argument and option: taken rightly, or refused."""

import contextlib
import dataclasses
import importlib
import inspect
import io
import json
import math
import shutil
import types
import unittest.mock
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import jax.numpy as jnp
import numpy as np

from floq import evaluation
from floq.algorithms import REGISTERED, find_algorithm, floq
from floq.cli import _COMMANDS, main
from floq.critics import (
    CategoricalCriticConfig,
    FlowCriticConfig,
    QuantileCriticConfig,
    ScalarCriticConfig,
)
from floq.envs.make import EnvironmentSpec
from floq.networks import NetworkConfig
from floq.policies import DeterministicPolicyConfig, FlowPolicyConfig, GaussianPolicyConfig
from floq.runs.directory import read_config
from floq.settings import from_json, to_json
from floq.sweeps.settings import flat, replace_settings, setting
from floq.training import Online, Schedule, finetune, resume, train
from tests.faults.learning import CONFIG, SCHEDULE, make_dataset, train_small
from tests.faults.trials import Row, Trial, hold

_KINDS = [
    *(one.Config for one in REGISTERED.values() if one.Config.__module__.startswith("floq.")),  # pyright: ignore[reportAttributeAccessIssue]
    *(CategoricalCriticConfig, FlowCriticConfig, QuantileCriticConfig, ScalarCriticConfig),
    *(NetworkConfig, DeterministicPolicyConfig, FlowPolicyConfig, GaussianPolicyConfig),
    *(Schedule, Online),
]
_REQUIRED = {Online: {"steps": 40}, find_algorithm("altered").Config: {"base": floq.Config()}}  # pyright: ignore[reportAttributeAccessIssue]


@dataclasses.dataclass(frozen=True)
class _Derived(FlowCriticConfig):
    """Somebody's own."""


_FOREIGN: list[Any] = [
    None, True, False, "", "3", "3e-4", "1e6", "mean", "nan", b"3", math.nan, math.inf, -math.inf,
    2.5, -1, 10**400, 2**63, 1j, Decimal("0.5"), np.float64(2.5), np.float32(math.nan), np.True_,
    np.array([]), np.array([1.5, 2.0]), np.array([[1, 2]]), np.datetime64("2026-01-01"), [], {},
    {"steps": 3}, [8, "9"], [None], (8, math.nan), {3}, range(3), object(), len, int, _Derived(),
    FlowCriticConfig(), NetworkConfig, EnvironmentSpec("Pendulum-v1"), types.SimpleNamespace(),
]  # fmt: skip
_WORDS = ["3", "1e3", "2.0", "0.5", "-1", "1.5", "x", "True", "None", "nan", "inf", "1e400", "3,4"]


_WHOLE = {"1e3": "1000", "2.0": "2"}
_DATA = {bool, int, float, str, list, dict}
_ENVIRONMENT = EnvironmentSpec("Pendulum-v1", {"rescale_actions": [-1.0, 1.0]})
_ARGUMENTS = {
    train: ("steps", "seed", "seeds", "reward_range", "online", "schedule", "processes", "task"),
    resume: ("steps", "processes"),
    finetune: ("steps", "processes", "schedule"),
    evaluation.evaluate: ("episodes", "seed"),
}
_OPTIONS: list[tuple[str, str, Any]] = [
    *(("train", option, int) for option in ("--steps", "--online-steps")),
    *(("train", f"--config.{option}", int) for option in ("batch-size", "critic.members")),
    *(("train", f"--config.{option}", float) for option in ("discount", "learning-rate")),
    *(("train", option, tuple[int, ...])
      for option in ("--seeds", "--config.critic.network.hidden-sizes")),
    *((command, option, int | None)
      for command, option in (("resume", "--steps"), ("finetune", "--processes"),
                              ("inspect", "--policy-seed"), ("data generate", "--episodes"))),
    ("evaluate", "--episodes", int),
    ("evaluate", "--integration-steps", tuple[int, ...]),
    ("demo", "--seeds", tuple[int, ...]),
]  # fmt: skip


class _Refused(NamedTuple):
    words: str


@dataclasses.dataclass(frozen=True)
class _Target:
    """A setting, and the call that takes it and gives what came of it, read back.

    Attributes:
        name: What a refusal must call it.
        hint: The type that is due.
        take: The call.
        only_data: Whether it takes what a TOML file can hold, and no more.
    """

    name: str
    hint: Any
    take: Callable[[Any], Any]
    only_data: bool = False

    def outcome(self, value: Any) -> Any:
        """What is stored, or the words of the refusal."""
        try:
            return self.take(value)
        except (TypeError, ValueError) as error:
            return _Refused(str(error))


def _is_due(hint: Any, value: Any) -> bool:
    """Whether a value is exactly of a type, through and through."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_is_due(one, value) for one in arguments)
    if origin is Literal:
        return type(value) is str and value in arguments
    if origin in (tuple, Sequence):
        fixed = origin is tuple and arguments[-1] is not Ellipsis
        kinds = arguments if fixed else arguments[:1] * len(value) if type(value) is tuple else ()
        return type(value) is tuple and len(kinds) == len(value) and all(
            map(_is_due, kinds, value)
        )  # fmt: skip
    if hint is float:
        return type(value) is float and math.isfinite(value)
    return type(value) is hint


def _drawn(hint: Any, random: np.random.Generator) -> Any:
    """A value of a type, in or out of the setting's range."""
    origin, arguments = get_origin(hint), get_args(hint)

    def one_of(things: Sequence[Any]) -> Any:
        return things[int(random.integers(len(things)))]

    if origin in (Union, types.UnionType):
        return _drawn(one_of(arguments), random)
    if origin is Literal:
        return one_of(arguments)
    if origin in (tuple, Sequence):
        fixed = origin is tuple and arguments[-1] is not Ellipsis
        kinds = arguments if fixed else arguments[:1] * int(random.integers(4))
        return tuple(_drawn(kind, random) for kind in kinds)
    if hint is int:
        return one_of([-1, 0, 1, 2, 3, 8, 40, 64, 1000, 2**31 - 1, 2**31])
    if hint is float:
        return one_of([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 1024.0])
    if hint is bool:
        return one_of([False, True])
    if hint is str:
        return one_of(["", "mean", "cube-double-play-singletask-v0"])
    return None if hint is type(None) else hint(**_REQUIRED.get(hint, {}))


def _form(value: Any, random: np.random.Generator, *, only_data: bool) -> Any:
    """The same value as people also write it."""
    if type(value) is tuple:
        items = [_form(item, random, only_data=only_data) for item in value]
        forms: list[Any] = [items]
        forms += [] if only_data else [tuple(items), np.array(value), np.array(items)]
    elif type(value) is bool:
        forms = [value] if only_data else [value, np.bool_(value), np.array(value)]
    elif type(value) is int:
        forms = [value, float(value)]
        arrays = [np.int64(value), np.float64(value), np.array(value), np.array(float(value))]
        arrays += [jnp.asarray(float(value))] if abs(value) < 2**20 else []
        forms += [] if only_data else arrays
    elif type(value) is float:
        forms = [value, *([int(value)] if value.is_integer() else [])]
        arrays = [np.float32(value), np.float64(value), np.float16(value), np.array(value)]
        forms += [] if only_data else [*arrays, jnp.asarray(value), np.longdouble(value)]
    elif type(value) is str and not only_data:
        forms = [value, np.str_(value)]
    else:
        forms = [value]
    return forms[int(random.integers(len(forms)))]


def _plain(value: Any) -> Any:
    """A value as Python's own numbers, texts and tuples."""
    value = value.tolist() if hasattr(value, "tolist") else value
    value = float(value) if isinstance(value, np.longdouble) else value
    return tuple(map(_plain, value)) if isinstance(value, list | tuple | range) else value


def _spellings(value: Any) -> set[str]:
    """How an error may say a value, or the part of it that is wrong."""
    plain = _plain(value)
    said = {text[:100] for one in (value, plain) for text in (repr(one), str(one))}
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            said.add(str(float(value)))
    if type(plain) is float and plain.is_integer():
        said.add(str(int(plain)))
    if type(plain) is int:
        with contextlib.suppress(OverflowError):
            if float(plain) == plain:
                said.add(str(float(plain)))
    if isinstance(plain, tuple):
        said |= {f"{len(plain)} entries"}.union(*map(_spellings, plain))
    return said


class _Reached(Exception):  # noqa: N818 - the work that settings are checked before
    """Settings were taken, and the work would begin."""


class _Draw:
    """A run that can go on, and the settings that are drawn."""

    def __init__(self, folder: Path):
        self._run, self._new = folder / "run", folder / "new"
        train_small(self._run, steps=20, env=_ENVIRONMENT, schedule=SCHEDULE)
        self._sound = self._files()

    def field(self, random: np.random.Generator) -> _Target:
        """A field of a class, as Python sets it."""
        kind = _KINDS[int(random.integers(len(_KINDS)))]
        fields = dataclasses.fields(kind)
        name = fields[int(random.integers(len(fields)))].name

        def take(value: Any) -> Any:
            made = object.__new__(kind)
            # pytest alone checks the types of arguments, before the class can say what is due.
            inspect.unwrap(kind.__init__)(made, **{**_REQUIRED.get(kind, {}), name: value})
            return getattr(_read_back(made), name)

        return _Target(name, get_type_hints(kind)[name], take)

    def dotted(self, random: np.random.Generator) -> _Target:
        """A setting of a sweep, by its dotted name."""
        names = list(flat(to_json(CONFIG)))
        name = names[int(random.integers(len(names)))]
        outer, _, last = name.rpartition(".")
        hints = get_type_hints(type(setting(CONFIG, outer) if outer else CONFIG))

        def take(value: Any) -> Any:
            return setting(_read_back(replace_settings(CONFIG, {name: value}, name="set")), name)

        return _Target(last, hints[last], take, only_data=True)

    def argument(self, random: np.random.Generator) -> _Target:
        """An argument of a function that trains or evaluates."""
        function = list(_ARGUMENTS)[int(random.integers(len(_ARGUMENTS)))]
        names = _ARGUMENTS[function]
        name = names[int(random.integers(len(names)))]
        take = partial(
            self._evaluated if function is evaluation.evaluate else self._begun, function
        )
        return _Target(name, get_type_hints(function)[name], partial(take, name))

    def option(self, random: np.random.Generator) -> _Target:
        """An option of a command, before what the command is about."""
        command, option, hint = _OPTIONS[int(random.integers(len(_OPTIONS)))]
        subject = [] if command == "demo" else ["cube-double-play-singletask-v0"]

        def take(word: str) -> Any:
            found, output = [], io.StringIO()
            kind = _COMMANDS[command]
            run = unittest.mock.patch.object(kind, "run", lambda own: found.append(own) or 0)
            with run, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                status = main([*command.split(), option, word, *subject])
            if status:
                raise ValueError(output.getvalue())
            for part in option.removeprefix("--").replace("-", "_").split("."):
                found.append(getattr(found[-1], part))
            return found[-1]

        return _Target(option.rpartition(".")[2].strip("-").replace("-", "_"), hint, take)

    def _files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self._run.rglob("*") if path.is_file()}

    def _begun(self, function: Callable[..., Any], name: str, value: Any) -> Any:
        """What a training would begin with, and has written."""
        shutil.rmtree(self._new, ignore_errors=True)
        settings = {"steps": 40, "progress": False, "schedule": SCHEDULE, name: value}
        module = importlib.import_module(function.__module__)
        with unittest.mock.patch.object(module, "go_through_phases", side_effect=_Reached) as begin:
            try:
                if function is train:
                    settings["env"] = settings.get("env", _ENVIRONMENT)
                    train(CONFIG, make_dataset(), directory=self._new, **settings)
                elif function is finetune:
                    finetune(self._run, directory=self._new, dataset=make_dataset(), **settings)
                else:
                    del settings["schedule"]
                    resume(self._run, dataset=make_dataset(), **settings)
                return 20 if name == "steps" and value is not None else None  # It was finished.
            except _Reached:
                (files, config, _), keywords = begin.call_args
                written = read_config(files.path)
                hold(repr(written) == repr(config), f"{config} is read back as {written}")
                (self._run / "config.json").write_bytes(self._sound[self._run / "config.json"])
            except (TypeError, ValueError):
                hold(not self._new.exists(), f"{name} is {value!r}, and {self._new} was made")
                raise
            finally:
                changed = {one for one, now in self._files().items() if self._sound[one] != now}
                hold(not changed, f"{name} is {value!r}: {changed} of another run changed")
        if value is None:
            return None
        low_high = config.statistics.reward_min, config.statistics.reward_max
        if function is finetune and name == "steps":
            return config.online.steps
        known = {"seed": config.seeds[0], "reward_range": low_high}
        return {**config._asdict(), **keywords, **known}[name]

    def _evaluated(self, function: Callable[..., Any], name: str, value: Any) -> Any:
        """What an evaluation would begin with."""
        begin = unittest.mock.Mock(side_effect=_Reached)
        with (
            unittest.mock.patch.object(evaluation.Evaluator, "_started") as started,
            unittest.mock.patch.object(evaluation, "Rollouts", begin),
        ):
            started.return_value.sizes.goal_count = 0
            try:
                function(None, _ENVIRONMENT, **{"processes": 0, name: value})
            except _Reached:
                *_, numbers, seed = begin.call_args.args
        return {"episodes": len(numbers), "seed": seed}[name]


def _read_back(made: Any) -> Any:
    """What JSON makes of settings: the very same, which can also be a static argument."""
    read = from_json(type(made), json.loads(json.dumps(to_json(made), allow_nan=False)))
    hold(read == made and repr(read) == repr(made), f"{made} is read back as {read}")
    hash(made)
    return read


def _checked(target: _Target, value: Any, *, plain: Any = None) -> None:
    """Holds that a value is taken for what it says or refused by name, and as its plain form is."""
    found = target.outcome(value)
    words = f"{target.name} ({target.hint}) is {value!r}"
    if isinstance(found, _Refused):
        named = target.name in found.words.replace("-", "_")
        hold(named, f"{words}: it is not named: {found.words}")
        said = any(text in found.words for text in _spellings(value))
        hold(said, f"{words}: its value is not said: {found.words}")
    else:
        hold(_is_due(target.hint, found), f"{words}, taken as {found!r}")
        hold(isinstance(value, str) or _plain(value) == found, f"{words}, taken as {found!r}")
    if plain is not None:
        same = target.outcome(plain)
        hold(type(same) is type(found), f"{words} gives {found!r}, and {plain!r} gives {same!r}")


@contextlib.contextmanager
def _settings(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    draw = _Draw(folder)

    def trial(
        choose: Callable[[np.random.Generator], _Target], random: np.random.Generator
    ) -> None:
        target = choose(random)
        if choose == draw.option:
            word = _WORDS[int(random.integers(len(_WORDS)))]
            _checked(target, word, plain=_WHOLE.get(word) if "int" in str(target.hint) else None)
        elif random.random() < 0.5:
            plain = _drawn(target.hint, random)
            _checked(target, _form(plain, random, only_data=target.only_data), plain=plain)
        else:
            # A file holds no objects: those that a list of TOML's values lacks are left out.
            foreign = [one for one in _FOREIGN if not target.only_data or type(one) in _DATA]
            _checked(target, foreign[int(random.integers(len(foreign)))])

    # Of twenty, one is a command line: those take most of the time.
    kinds = [draw.option, *[draw.field] * 10, *[draw.dotted] * 3, *[draw.argument] * 6]
    with unittest.mock.patch.dict("os.environ", COLUMNS="300"):
        yield [partial(trial, kinds[index % len(kinds)]) for index in range(wanted)]


ROWS = [
    Row(
        "settings",
        "settings of every kind for every class, argument and option",
        "taken as the type that is due and read back equal, or refused by name and value before "
        "any work",
        2_000,
        60,
        _settings,
    ),
]
