"""How each published OGBench dataset was collected: the settings, by dataset name.

The values are those of OGBench's own collection commands (`data_gen_scripts/commands.sh` and
the defaults of `generate_locomaze.py` and `generate_manipspace.py`).
"""

from dataclasses import dataclass

from floq.shell import quoted

_MAZES = ("medium", "large", "giant", "teleport")
_PUZZLES = ("3x3", "4x4", "4x5", "4x6")
# A cube episode draws its stacking probability from this interval.
_CUBES = {
    "single": (0.0, 0.0),
    "double": (0.0, 0.25),
    "triple": (0.05, 0.35),
    "quadruple": (0.1, 0.5),
}
# Larger scenes were published with more trajectories; all others have 1,000.
_MANIPULATION_EPISODES = {
    "cube-triple": 3000,
    "cube-quadruple": 5000,
    "puzzle-4x5": 3000,
    "puzzle-4x6": 5000,
}


@dataclass(frozen=True)
class Recipe:
    """The settings that one dataset is collected with.

    Attributes:
        name: The dataset, like `"cube-double-play-v0"`.
        environment: Gymnasium id of the environment it is collected in.
        behaviour: `"navigate"` (goal after goal), `"stitch"` (one goal four cells away),
            `"play"` (open-loop plans with smooth noise) or `"noisy"` (closed-loop control with
            independent noise).
        episodes: Trajectories of the published training set; its validation set has a tenth.
        rows: Rows of a trajectory. The action of the last row leads nowhere.
        noise: Standard deviation of the action noise in units of the action range [-1, 1] (mazes);
            relative noise of a plan (play); largest relative noise of an episode (noisy).
        random_actions: Share of the actions that are drawn uniformly instead of controlled.
        stacking: Interval from which an episode draws its probability of stacking cubes.
    """

    name: str
    environment: str
    behaviour: str
    episodes: int
    rows: int
    noise: float
    random_actions: float = 0.0
    stacking: tuple[float, float] = (0.0, 0.0)


def _maze_recipes() -> list[Recipe]:
    recipes = []
    for size in _MAZES:
        environment = f"pointmaze-{size}-v0"
        episodes, rows = (500, 2001) if size == "giant" else (1000, 1001)
        for behaviour, count, length in (("navigate", episodes, rows), ("stitch", 5000, 201)):
            name = f"pointmaze-{size}-{behaviour}-v0"
            recipes.append(Recipe(name, environment, behaviour, count, length, noise=0.5))
    return recipes


def _manipulation_recipes() -> list[Recipe]:
    scenes = [*(f"cube-{n}" for n in _CUBES), "scene", *(f"puzzle-{n}" for n in _PUZZLES)]
    return [
        Recipe(
            name=f"{seen}{scene}-{behaviour}-v0",
            environment=f"{seen}{scene}-v0",
            behaviour=behaviour,
            episodes=_MANIPULATION_EPISODES.get(scene, 1000),
            rows=1001,
            noise=0.1,
            random_actions=0.0 if behaviour == "play" else 0.2 if "puzzle" in scene else 0.1,
            stacking=_CUBES.get(scene.removeprefix("cube-"), (0.0, 0.0)),
        )
        for seen in ("", "visual-")
        for scene in scenes
        for behaviour in ("play", "noisy")
    ]


_RECIPES = {recipe.name: recipe for recipe in [*_maze_recipes(), *_manipulation_recipes()]}


def generatable_names() -> tuple[str, ...]:
    """The datasets that `generate` can make, by family and size."""
    return tuple(_RECIPES)


def find_recipe(name: str) -> Recipe:
    """The published settings of the dataset `name`, like `"pointmaze-medium-navigate-v0"`.

    Raises:
        ValueError: If `name` is no dataset that can be generated.
    """
    if name in _RECIPES:
        return _RECIPES[name]
    if name.startswith(("ant", "humanoid", "visual-ant", "visual-humanoid")):
        raise ValueError(
            f"{name!r} cannot be generated: its trajectories come from trained locomotion experts, "
            f"which floq does not have. Get the published files: "
            + quoted("floq", "data", "download", name)
        )
    raise ValueError(
        f"{name!r} is no dataset that can be generated. These can: {', '.join(_RECIPES)}. "
        f"Other published datasets: floq data download NAME"
    )
