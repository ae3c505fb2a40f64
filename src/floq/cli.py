"""The command line: `floq COMMAND …`.

Each command is a frozen dataclass in `floq.commands`, with its arguments as fields and a `run` that
does the work. Other modules are imported when a command needs them, so that `floq --help` answers
at once.
"""

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import Any

from floq.commands.arguments import parse
from floq.commands.data import Check, Convert, Download, Generate, Info
from floq.commands.demo import Demo
from floq.commands.doctor import Doctor
from floq.commands.evaluate import Evaluate
from floq.commands.export import Export
from floq.commands.finetune import Finetune
from floq.commands.inspect import Inspect
from floq.commands.log import Log
from floq.commands.presets import Presets
from floq.commands.push import Push
from floq.commands.record import Record
from floq.commands.report import Report
from floq.commands.resume import Resume
from floq.commands.serve import Serve
from floq.commands.signals import signals_before_training
from floq.commands.study import Study
from floq.commands.sweep import Sweep
from floq.commands.train import Train, parse_train
from floq.commands.watch import Watch
from floq.compiled import keep_compiled_programs
from floq.disk import user_path
from floq.interrupted import Interrupted
from floq.shell import EXIT_INTERRUPTED
from floq.streams import complain, finish_streams, prepare_streams, warnings_in_words


def main(arguments: list[str] | None = None) -> int:
    """Runs a command, and gives its exit status.

    0 is success, 1 a check that failed, 2 bad input or a failed command, 75 a training that was
    interrupted, saved everything and can be resumed, and 141 output that nobody reads to its end.
    """
    prepare_streams()
    called = "floq"
    with warnings_in_words():
        try:
            words, plugins = _without_plugins(sys.argv[1:] if arguments is None else arguments)
            if "" in plugins:
                raise ValueError("--plugin names no module: give one, as in --plugin mine.")
            name, command, words = _chosen(words)
            called = f"floq {name}"
            _prepare(command)
            with signals_before_training(name):
                _import(plugins)
                parsed = (
                    parse_train(words) if command is Train else parse(command, words, name=name)
                )
                status = _with_user_paths(parsed).run()
        except BrokenPipeError:
            status = 141
        except Interrupted as interrupted:
            status = _say_interrupted(interrupted)
        except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
            complain(f"{called}: {error}")
            status = 2
        except KeyboardInterrupt:
            complain(f"{called}: stopped.")
            status = 130
        except SystemExit as ended:
            # All is said: by tyro, in its help or its word about an argument, or by `_chosen`.
            status = int(ended.code or 0)
    return finish_streams(status)


def _chosen(words: list[str]) -> tuple[str, Any, list[str]]:
    """The command that the words begin with: its name, its class, and the words behind it.

    Raises:
        SystemExit: If there is none to run, and all is said.
    """
    if not words or words[0] in {"-h", "--help"}:
        print(_overview())
        raise SystemExit(0)
    if words[0] == "--version":
        from floq import __version__

        print(f"floq {__version__}")
        raise SystemExit(0)
    name, rest = words[0], words[1:]
    if name == "data" and rest and rest[0] in _DATA_COMMANDS:
        name, rest = f"data {rest[0]}", rest[1:]
    if name not in _COMMANDS:
        known = ", ".join(_COMMANDS)
        complain(f"floq: no command is called {name!r}. There are {known}.")
        raise SystemExit(2)
    return name, _COMMANDS[name], rest


def _prepare(command: Any) -> None:
    """What must be settled before jax is imported, and where modules are found."""
    with contextlib.suppress(OSError):  # The folder may be gone.
        # Modules of environments may lie where one works; those that are installed go first.
        sys.path += {str(Path.cwd())} - {*sys.path}
    if command not in _NOT_COMPILING:
        keep_compiled_programs()


def _import(plugins: list[str]) -> None:
    if plugins:
        from floq.plugins import import_plugins

        import_plugins(plugins)


def _say_interrupted(interrupted: Interrupted) -> int:
    """Says how to go on, in the process that wrote the run. Gives the exit status."""
    from floq.training.hosts import is_first

    if is_first():
        complain(interrupted)
    return EXIT_INTERRUPTED


def _with_user_paths(command: Any) -> Any:
    """The command with ~ in its paths as the user's home: shells leave it in `--name=~/path`."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(command):
        value = getattr(command, field.name)
        if isinstance(value, Path):
            changes[field.name] = user_path(value)
        elif isinstance(value, tuple) and any(isinstance(one, Path) for one in value):
            changes[field.name] = tuple(user_path(one) for one in value)
    return dataclasses.replace(command, **changes)


def _without_plugins(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The words without `--plugin MODULE`, which every command takes, and the modules.

    A module that is missing is the empty text.
    """
    kept, plugins, words = [], [], list(arguments)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option != "--plugin":
            kept.append(word)
        elif equals:
            plugins.append(value)
        else:
            plugins.append(words.pop(0) if words and not words[0].startswith("-") else "")
    return kept, plugins


def _overview() -> str:
    lines = ["floq: flow-matching Q-functions (arXiv 2509.06863)", "", "usage: floq COMMAND …", ""]
    for name, command in _COMMANDS.items():
        summary = (command.__doc__ or "").split("\n")[0]
        lines.append(f"  {name:14s} {summary}")
    lines += ["", "`floq COMMAND --help` explains a command."]
    lines.append("--plugin MODULE makes algorithms and critics of your own known to any of them.")
    return "\n".join(lines)


_DATA_COMMANDS = {
    "generate": Generate,
    "download": Download,
    "check": Check,
    "info": Info,
    "convert": Convert,
}
_COMMANDS: dict[str, Any] = {
    "demo": Demo,
    "presets": Presets,
    "train": Train,
    "finetune": Finetune,
    "resume": Resume,
    "evaluate": Evaluate,
    "watch": Watch,
    "report": Report,
    "record": Record,
    "log": Log,
    "push": Push,
    "inspect": Inspect,
    "export": Export,
    "serve": Serve,
    "study": Study,
    "sweep": Sweep,
    **{f"data {name}": command for name, command in _DATA_COMMANDS.items()},
    "doctor": Doctor,
}
_NOT_COMPILING = {Presets, Watch, Doctor, *_DATA_COMMANDS.values()}
