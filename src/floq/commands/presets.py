"""`floq presets`: the published settings."""

import dataclasses
from typing import Any

import tyro


@dataclasses.dataclass(frozen=True)
class Presets:
    """List the methods and the settings that are published for each task.

    Without a task: every method, where its settings come from, and the datasets that it has
    published settings for. With one: what each method changes there from its algorithm's defaults.

    Attributes:
        task: A task, such as cube-double-play-singletask-task3-v0.
    """

    task: tyro.conf.Positional[str] = ""

    def run(self) -> int:
        """Prints them."""
        from floq.algorithms import algorithm_names, find_algorithm
        from floq.presets.methods import METHODS, find_preset
        from floq.tasks import check_task

        if self.task:
            check_task(self.task)
        for name, method in METHODS.items():
            print(f"{name}: {method.summary}")
            if self.task:
                found = find_preset(name, self.task)
                print(f"  {found.source}")
                print(f"  {_changes(found.config)}")
                continue
            print(f"  from {method.source}")
            for dataset, config in method.configs.items():
                print(f"  {dataset:32s} {_changes(config)}")
            print(f"  {'any other':32s} {_changes(method.start)}")
            print(f"  {'':32s} {method.advice}")
        for name in algorithm_names():
            if name not in METHODS:
                print(f"{name}: {_summary(find_algorithm(name))}")
                print(f"  without presets: {_defaults_of(name)}")
        if not self.task:
            print("Each dataset has the tasks singletask-task1 to task5; singletask alone names")
            print("the default one. `floq train TASK --algorithm NAME` uses these settings.")
        return 0


def _summary(algorithm: Any) -> str:
    """The first line of what it says of itself; an object's docstring is that of its class."""
    said = getattr(algorithm, "__dict__", {}).get("__doc__")
    first = said.strip().partition("\n")[0] if isinstance(said, str) else ""
    return first or "an algorithm without a docstring"


def _defaults_of(name: str) -> str:
    """What an algorithm without presets is trained with, or why it is not by its name alone."""
    from floq.presets.methods import find_preset

    try:
        find_preset(name, None)
    except ValueError as error:
        return str(error)
    return "the algorithm's own defaults"


def _changes(config: Any) -> str:
    """The settings that are not the algorithm's defaults, as the command line spells them."""
    return ", ".join(_differences(config, _default(type(config)), "")) or "the defaults"


def _default(kind: type) -> Any:
    try:
        return kind()
    except TypeError:  # One of the user's own, with settings that have no default.
        return None


def _differences(config: Any, default: Any, prefix: str) -> list[str]:
    found = []
    for field in dataclasses.fields(config):
        value, usual = getattr(config, field.name), getattr(default, field.name, None)
        name = f"{prefix}{field.name}"
        if type(value) is type(usual) and dataclasses.is_dataclass(value):
            found += _differences(value, usual, f"{name}.")
        elif dataclasses.is_dataclass(value):
            found.append(f"{name} {type(value).__name__}")
            found += _differences(value, _default(type(value)), f"{name}.")
        elif value != usual:
            found.append(f"{name} {value}")
    return found
