"""Data as people have it: other layouts, bounds, shapes and types, and short episodes."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from floq.data.dataset import Dataset
from floq.training import Online
from tests.faults.learning import CONFIG, train_small
from tests.faults.trials import Row, Trial, hold

Arrays = dict[str, np.ndarray]
Kind = Callable[[Path, np.random.Generator], None]


def _said(call: Callable[[], object], *words: str) -> str:
    """What the call refuses, or else warns of, in which all of the words must be."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            call()
            text = "\n".join(str(one.message) for one in said) or "nothing"
        except ValueError as error:
            text = str(error)
    for word in words:
        hold(word in text, f"{word!r} was not said, but: {text}")
    return text


def _episodes(random: np.random.Generator) -> tuple[list[int], Arrays]:
    """Lengths of episodes, and their transitions in order, which know their next observations."""
    lengths = random.integers(1, 12, int(random.integers(4, 30))).tolist()
    size = sum(lengths)
    states = [random.normal(size=(length + 1, 3)) for length in lengths]
    ends = np.zeros(size)
    ends[np.cumsum(lengths) - 1] = 1
    return lengths, {
        "observations": np.concatenate([part[:-1] for part in states]),
        "actions": random.uniform(-0.9, 0.9, (size, 2)),
        "rewards": random.uniform(-1, 0, size),
        "masks": 1 - ends * (random.random(size) < 0.7),
        "next_observations": np.concatenate([part[1:] for part in states]),
        "ends": ends,
    }


def _rows(arrays: Arrays) -> Arrays:
    """Rows as D4RL has them: each is a transition, and the next observations are not there."""
    fields = ("observations", "actions", "rewards", "masks")
    return {**{field: arrays[field] for field in fields}, "terminals": arrays["ends"]}


def _layout(folder: Path, random: np.random.Generator) -> None:
    """The default is refused; told the layout, each transition is right."""
    _, arrays = _episodes(random)
    arrays["masks"][-1] = 0
    rows = _rows(arrays)
    _said(lambda: Dataset.from_trajectories(**rows), "masks", 'layout="transitions"')
    cut = (arrays["ends"] == 1) & (arrays["masks"] == 1)
    words = [f"{cut.sum()} transitions"] if cut.any() else ["nothing"]
    _said(lambda: Dataset.from_trajectories(**rows, layout="transitions"), *words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = Dataset.from_trajectories(**rows, layout="transitions")
    batch = dataset.take(jnp.arange(dataset.size))
    for field in ("observations", "actions", "rewards", "masks", "next_observations"):
        # Behind a true end no next observation is read.
        is_read = ~cut if field != "next_observations" else ~cut & (arrays["masks"] == 1)
        found = np.asarray(getattr(batch, field))[is_read[~cut]]
        hold((found == arrays[field][is_read].astype(np.float32)).all(), f"{field} differs")


def _sparse(folder: Path, random: np.random.Generator) -> None:
    """The only reward is in rows that would be taken for last states."""
    _, arrays = _episodes(random)
    arrays["masks"][:], arrays["rewards"] = 1, arrays["ends"] * random.uniform(0.5, 2)
    _said(lambda: Dataset.from_trajectories(**_rows(arrays)), "rewards", "layout=")


def _flags(folder: Path, random: np.random.Generator) -> None:
    """Flags of ends in place of masks, or true ends alone in place of all."""
    _, arrays = _episodes(random)
    while len(arrays["ends"]) - arrays["ends"].sum() < 32:
        _, arrays = _episodes(random)
    if random.random() < 0.5:
        arrays["masks"] = arrays["ends"]
        _said(lambda: Dataset.from_transitions(**arrays), "masks", "1 - flags")
    else:
        rows = _rows(arrays)
        rows["terminals"][-1] = 0
        _said(lambda: Dataset.from_trajectories(**rows), "terminals", "time limit")


def _shape(folder: Path, random: np.random.Generator) -> None:
    """A column, a list of single numbers, or a batch of episodes."""
    _, arrays = _episodes(random)
    field = str(random.choice(list(arrays)))
    values = arrays[field]
    if values.ndim == 1:
        arrays[field], word = values[:, None], f"{field}[:, 0]"
    elif random.random() < 0.5:
        arrays[field], word = values[:, 0], f"{field}[:, None]"
    else:
        arrays[field], word = values[None], "one after the other"
    _said(lambda: Dataset.from_transitions(**arrays), field, word)


def _type(folder: Path, random: np.random.Generator) -> None:
    """Dictionaries, objects, text, dates, hidden entries, discrete actions."""
    _, arrays = _episodes(random)
    field = str(random.choice(list(arrays)))
    shape = arrays[field].shape
    wrong: list[tuple[Any, str]] = [
        (np.array([{"eye": 1.0}] * shape[0]), "FlattenObservation"),
        (np.zeros(shape, [("eye", "f4"), ("arm", "f4")]), "FlattenObservation"),
        (np.full(shape, None), "Python objects"),
        (np.full(shape, "1.0"), "float32"),
        (np.zeros(shape, "datetime64[s]"), "float32"),
        (np.zeros(shape, np.complex64), "float32"),
        (np.ma.array(np.zeros(shape), mask=np.arange(shape[0])[(...,) + (None,) * (len(shape) - 1)]
                     + np.zeros(shape) == 1), "masked"),
        (np.zeros(shape, np.int64), "discrete"),
    ]  # fmt: skip
    arrays[field], word = wrong[int(random.integers(len(wrong) - (field != "actions")))]
    _said(lambda: Dataset.from_transitions(**arrays), field, word)


def _bounds(folder: Path, random: np.random.Generator) -> None:
    """Actions in an environment's units: refused without its bounds, rescaled and recorded with."""
    _, arrays = _episodes(random)
    low = -random.uniform(1.5, 9, 2)
    high = random.uniform(1.5, 9, 2)
    unit = arrays["actions"]
    unit[0] = 0.95
    arrays["actions"] = low + (unit + 1) / 2 * (high - low)
    _said(lambda: Dataset.from_transitions(**arrays), "actions", "action_low=", "action_high=")
    dataset = Dataset.from_transitions(**arrays, action_low=low, action_high=high)
    found = np.asarray(dataset.take(jnp.arange(dataset.size)).actions)
    hold(np.abs(found - unit).max() < 1e-5, "actions are rescaled wrongly")
    hold(np.allclose([dataset.action_low, dataset.action_high], [low, high]), "not recorded")
    dataset.save(folder / "own.npz")
    again = Dataset.load(folder / "own.npz")
    hold(again.fingerprint() == dataset.fingerprint(), "the file has other data")
    _said(lambda: Dataset.load(folder / "own.npz", action_low=-1, action_high=1), "was given")


def _wrong_bounds(folder: Path, random: np.random.Generator) -> None:
    """Too narrow, the wrong way round, of another length, infinite, or only one of them."""
    _, arrays = _episodes(random)
    arrays["actions"][0] = 0.95
    wrong: list[dict[str, Any]] = [
        {"action_low": -0.5, "action_high": 0.5},
        {"action_low": 1.0, "action_high": -1.0},
        {"action_low": [-1.0] * 3, "action_high": [1.0] * 3},
        {"action_low": -np.inf, "action_high": np.inf},
        {"action_low": [-1.0, np.nan], "action_high": 1.0},
        {"action_high": 1.0},
        {"action_low": -1.0},
    ]
    bounds = wrong[int(random.integers(len(wrong)))]
    text = _said(lambda: Dataset.from_transitions(**arrays, **bounds), "action")
    hold(re.search("low|bounds|high", text), f"bounds are not named: {text}")


def _short(folder: Path, random: np.random.Generator) -> None:
    """Decisions longer than episodes: how many starts are lost is counted, or that none is left."""
    lengths, arrays = _episodes(random)
    arrays["masks"][:] = 1
    steps = int(random.integers(2, 7))
    name = str(random.choice(["action_chunk", "n_step"]))
    dataset = Dataset.from_transitions(**arrays)
    lost = sum(min(length, steps - 1) for length in lengths)
    is_said = lost > 0.1 * sum(lengths) or min(lengths) < steps
    words = [name, f"leaves out {lost} of {sum(lengths)}"] if is_said else ["nothing"]
    if lost == sum(lengths):
        words = [name, f"the longest of {len(lengths)} has {max(lengths)}"]
    decide = partial(dataset.with_decisions, discount=0.9)
    _said(lambda: decide(**{name: steps}), *words)


def _shuffled(folder: Path, random: np.random.Generator) -> None:
    """Transitions in any order have no decisions of several steps: the cause is named."""
    _, arrays = _episodes(random)
    order = random.permutation(len(arrays["ends"]))
    arrays = {field: values[order] for field, values in arrays.items() if field != "ends"}
    arrays["masks"][:] = 1
    # One that happens to follow another would be another case.
    arrays["next_observations"] += 0.5
    dataset = Dataset.from_transitions(**arrays)
    words = "no next observation equals the following row's observation", "action_chunk"
    _said(lambda: dataset.with_decisions(action_chunk=2, discount=0.9), *words)


def _file(folder: Path, random: np.random.Generator) -> None:
    """A file that lacks a field, or has those of two layouts; a whole one is read as it is."""
    _, arrays = _episodes(random)
    path = folder / "own.npz"
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    whole = Dataset.from_transitions(**arrays).fingerprint()
    hold(Dataset.load(path).fingerprint() == whole, "the file has other data")
    field = str(random.choice([*arrays, "terminals"]))
    if field == "ends":
        return
    if field == "terminals":
        arrays[field] = arrays["ends"]
    else:
        del arrays[field]
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    _said(lambda: Dataset.load(path), str(path), field)


def _constant(folder: Path, random: np.random.Generator) -> None:
    """Equal rewards are refused before there is a folder."""
    _, arrays = _episodes(random)
    arrays["rewards"][:] = float(random.choice([0.0, -1.0, 3.5]))
    arrays["actions"] = arrays["actions"][:, :1]
    dataset = Dataset.from_transitions(**arrays)
    train = partial(train_small, folder / "run", dataset=dataset, steps=10)
    _said(train, "reward_range=")
    hold(not (folder / "run").exists(), "a folder was made")


def _never(folder: Path, random: np.random.Generator) -> None:
    """Online steps that can never make an update are refused before there is a folder."""
    steps = int(random.integers(5, 200))
    online = [
        Online(steps=steps, buffer="online", warmup=steps),
        Online(steps=steps, buffer="online", updates_per_step=0.5 / steps),
        Online(steps=steps, buffer="online", environments=steps),
    ][int(random.integers(3))]
    settings = {"dataset": None, "env": "Pendulum-v1", "reward_range": (-17.0, 0.0)}
    train = partial(train_small, folder / "run", config=CONFIG, steps=0, online=online, **settings)
    _said(train, "no update would ever be made")
    hold(not (folder / "run").exists(), "a folder was made")


_KINDS: list[Kind] = [
    _layout,
    _sparse,
    _flags,
    _shape,
    _type,
    _bounds,
    _wrong_bounds,
    _short,
    _shuffled,
    _file,
    _constant,
    _never,
]


@contextlib.contextmanager
def _users(folder: Path, wanted: int) -> Iterator[Sequence[Trial]]:
    kinds = (_KINDS[index % len(_KINDS)] for index in range(wanted))
    yield [partial(kind, folder) for kind in kinds]


ROWS = [
    Row(
        "data-users",
        "people's arrays and files: layouts, ends, bounds, shapes, types, short episodes, equal "
        "rewards",
        "never silent: refused or warned of with field and way out, or every number is right",
        100,
        12,
        _users,
    ),
]
