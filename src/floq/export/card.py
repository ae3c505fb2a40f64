"""The card of an exported policy: what it is, and how to use it."""

from typing import Any

from floq.export.floq_policy import parts

_NEEDS = {
    "jax": "jax, flatbuffers and numpy",
    "onnx": "onnxruntime and numpy",
    "numpy": "numpy alone",
}
_PROGRAMS = {
    "jax": "`program.jaxexport` is a program of `jax.export` for CPUs and CUDA, `jax.export."
    "deserialize(bytes).call(weights, *observations, *noise)`; the weights are in "
    "`weights.safetensors`.",
    "onnx": "`policy.onnx` holds program and weights, and takes any batch.",
    "numpy": "`floq_network.py` is the program, the weights are in `weights.safetensors`.",
}


def card(record: dict[str, Any]) -> str:
    """The text of README.md, in Markdown."""
    (actions,) = record["actions"]["shape"]
    kind, run = record["program"], record.get("run", {})
    noise = [
        f"`{one['name']}` [batch, {', '.join(map(str, one['shape']))}], {one['distribution']}"
        + (f" over [{one['low']:g}, {one['high']:g}]" if "low" in one else "")
        for one in record["noise"]
    ]
    lines = [
        f"# A policy of {record['algorithm']}",
        "",
        f"Acts by: {record['policy']}"
        + (f" ({record['candidates']})" if record["candidates"] else "")
        + f". Task: {run.get('task') or 'not named'}. Environment: "
        f"{run.get('environment') or 'not named'}. {run.get('step', 0):,} steps of training.",
        "",
        f"- Observations: {_observations(record)}, {record['observations']['units']}.",
        f"- Actions: {actions} numbers between {_numbers(record['actions']['low'])} and "
        f"{_numbers(record['actions']['high'])}, in the environment's own units; the program gives "
        f"{record['chunk']} of them at once, in [-1, 1].",
        f"- Noise: {'; '.join(noise) or 'none'}. It is an input of the program; `act` draws it "
        "from a seed, the number of the episode and the step.",
        f"- Largest difference from the policy in training: "
        f"{record.get('check', {}).get('largest_difference', 0):.2g}.",
        "",
        f"It needs {_NEEDS[kind]}:",
        "",
        "```python",
        "import floq_policy  # in this folder",
        "",
        'policy = floq_policy.load_policy(".", seed=0)',
        "policy.reset()",
        "action = policy.act(observation)",
        "```",
        "",
        f"{_PROGRAMS[kind]} `policy.json` says all about spaces, noise, versions and figures, and "
        "`manifest.json` has a SHA-256 of each file.",
    ]
    if figures := record.get("figures"):
        lines += ["", "| evaluation | |", "|---|---|"]
        lines += [f"| {name} | {_figure(value)} |" for name, value in figures.items()]
    return "\n".join(lines) + "\n"


def _observations(record: dict[str, Any]) -> str:
    """What they are, in words."""
    frames = record["observations"].get("frames", 1)
    described = [
        (f"`{name}`, " if name else "")
        + (f"{part['shape'][0]} numbers" if len(part["shape"]) == 1 else f"bytes {part['shape']}")
        for name, part in parts(record).items()
    ]
    last = f"; the last {frames}, side by side along the last axis" if frames > 1 else ""
    if goal := record.get("run", {}).get("goal_entries"):
        last += f", of which the goal has the last {goal}"
    return " and ".join(described) + last


def _figure(value: Any) -> Any:
    """A figure as people read it; `policy.json` has all of its digits."""
    return round(value, 3) if isinstance(value, float) else value


def _numbers(values: list[float]) -> str:
    """One number where all are the same."""
    shown = [f"{value:g}" for value in values]
    return shown[0] if len(set(shown)) == 1 else f"[{', '.join(shown)}]"
