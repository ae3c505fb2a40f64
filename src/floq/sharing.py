"""Sharing: a run or an export, with a card, on the Hugging Face Hub."""

import shutil
import tempfile
from pathlib import Path

from floq.disk import user_path
from floq.extras import require_extra
from floq.reports import figures
from floq.reports.report import (
    curve_figures,
    figures_of,
    flat,
    in_words,
    ordered,
    policy_name,
)
from floq.reports.rollout import film, play
from floq.reports.video import encoded
from floq.runs.checkpoint import checkpoint_paths
from floq.runs.directory import CONFIG
from floq.runs.hub import FILES, check_name, hub_errors
from floq.runs.results import task_title
from floq.runs.run import Run, load_run
from floq.settings import to_json

_EXPORTED = "policy.json"


def push(path: str | Path, name: str, *, private: bool = False) -> str:
    """Shares a run, or an export of one, on the Hugging Face Hub, with a card about it.

    Of a run these are its settings and versions, its rows, its newest checkpoint, and pictures;
    `floq.load_run("hf:OWNER/NAME")` takes it from there. Settings name the data's file and the
    environment. Of an export it is the whole folder.

    Args:
        path: The run, or the export's folder.
        name: OWNER/NAME; it is made if it is not there.
        private: Whether a new one is shown to nobody else.

    Returns:
        The address of what was shared.

    Raises:
        ConnectionError: If the Hub cannot be reached, or refuses.
        FileNotFoundError: If there is neither a run nor an export.
        MissingExtraError: If huggingface_hub is not installed.
        ValueError: If that is no name, or a file of the run is not sound.
    """
    check_name(name)
    require_extra("hub")
    import huggingface_hub  # pyright: ignore[reportMissingImports]

    source = user_path(path)
    if not (source / CONFIG).exists() and not (source / _EXPORTED).exists():
        raise FileNotFoundError(
            f"{source} holds neither a run ({CONFIG}) nor an export ({_EXPORTED})."
        )
    with tempfile.TemporaryDirectory(prefix="floq-push-") as folder, hub_errors(name):
        api = huggingface_hub.HfApi()
        # Before anything is drawn: a wrong token, or no network, is known at once.
        address = api.create_repo(name, private=private, exist_ok=True)
        if (source / CONFIG).exists():
            gather(source, Path(folder), name)
            source = Path(folder)
        api.upload_folder(
            repo_id=name, folder_path=source, commit_message="Shared by floq", ignore_patterns=".*"
        )
    return str(address)


def gather(source: Path, folder: Path, name: str) -> None:
    """Puts what of a run is shared into a folder.

    Args:
        source: The run.
        folder: The folder, which is empty.
        name: OWNER/NAME that it will have.
    """
    run = load_run(source)
    newest = checkpoint_paths(source / "checkpoints")[-1].name
    for file in sorted(source.rglob("*")):
        inner = file.relative_to(source).as_posix()
        found = FILES.fullmatch(inner)
        if found and found[3] in (None, newest) and file.is_file():
            (folder / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / inner)
    shown = {}
    for figure, words in curve_figures({name: run}):
        shown[words] = "learning_curve.png"
        (folder / shown[words]).write_bytes(figures.to_png(figures.to_array(figure)))
        break
    try:
        played = play(run, 3)
    except ValueError:
        played = []  # What cannot be played here, such as a robot's, is shared all the same.
    if played and played[0].frames is not None:
        words = "Episodes side by side; below each the learned value along it"
        shown[words] = "rollout.webp"
        (folder / shown[words]).write_bytes(encoded(film(run, played), "webp"))
    (folder / "README.md").write_text(card(run, name, shown))


def card(run: Run, name: str, pictures: dict[str, str]) -> str:
    """The model card of a run, in Markdown.

    Args:
        run: The run.
        name: OWNER/NAME.
        pictures: What each picture shows, and its file.
    """
    last = [found[-1] for found in ordered(run).values()]
    said = "; ".join(in_words(result) for result in last) or "It was not evaluated"
    task, config = task_title(run), run.config
    lines = [
        *("---", "library_name: floq", "pipeline_tag: reinforcement-learning", "tags:"),
        *(f"- {tag}" for tag in ("floq", "jax", "offline-rl", "flow-matching")),
        *("---", "", f"# {config.algorithm} on {_plain(task)}", ""),
        f"{said}, after {run.step:,} steps of training. Ranges are 95 % intervals.",
        *("", "```python", "import floq", "", f'run = floq.load_run("hf:{name}")'),
        *("actor = run.actor(seed=0)", "actor.reset(); action = actor.act(observation)", "```"),
        *("", "| policy | result | 95 % interval | seeds × episodes |", "|---|---|---|---|"),
    ]
    for result in last:
        figure, interval = figures_of(result)
        cells = (policy_name(result.policy), f"{result.figure} {figure}", interval)
        many = f"{len(result.per_seed)} × {result.episodes}"
        lines.append(f"| {' | '.join(map(_plain, (*cells, many)))} |")
    for words, file in pictures.items():
        lines += ["", f"![{words}]({file})"]
    lines += ["", "## Settings", "", "| setting | value |", "|---|---|"]
    settings = flat(to_json(config))
    lines += [f"| {_plain(one)} | {_plain(value)} |" for one, value in settings.items()]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown and HTML take for nothing else."""
    text = " ".join(text.split())
    return "".join(f"&#{ord(letter)};" if letter in "|<>&`*[]" else letter for letter in text)
