"""Studies: their variants, and what their cells come to."""

import csv
import dataclasses
import io
import json
import math
import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from floq.critics import FlowCritic, FlowCriticConfig
from floq.data.generation import generate
from floq.networks import NetworkConfig
from floq.presets import demo
from floq.presets.changes import small
from floq.studies import control_ground, runner
from floq.studies.catalogue import STUDIES
from floq.studies.cells import Cells, folder_name
from floq.studies.control_ground import ControlGround
from floq.studies.distilled import DistilledCritic, DistilledCriticConfig
from floq.studies.figure import comparison
from floq.studies.processes import compute_side_by_side
from floq.studies.readings import ReadAtSteps
from floq.studies.results import rows_of, to_csv, to_markdown
from floq.studies.runner import list_studies, run_study
from floq.studies.value_benchmark import benchmark
from floq.studies.value_ground import ValueGround
from floq.studies.value_problems import Waves
from floq.studies.value_program import Training
from floq.types import Batch, Critic, Statistics


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_variants_have_names_of_their_own(study):
    """Also as folders; the variant that all are compared with is among them."""
    for size in ("small", "full"):
        names = [variant.name for variant in ValueGround(size).variants(study)]
        assert len(set(map(folder_name, names))) == len(names)
        assert study.reference in names


def test_listing_names_every_study_and_its_question():
    """And the variants of the one that is asked for."""
    listed = list_studies()
    assert all(study.name in listed and study.question in listed for study in STUDIES.values())
    assert "κ=0.25" in list_studies("noise-width")
    for size in ("small", "full"):
        assert "dense ×1" in list_studies("critics", ground="control", size=size)


def test_a_cell_of_other_settings_is_refused(tmp_path):
    """It is neither taken for the new one nor overwritten; a cell that is not finite is kept."""
    cells = Cells(tmp_path)
    assert cells.read("flow, K=4", 3, {"K": 4}) is None
    cells.write("flow, K=4", 3, {"K": 4}, {"figures": {"values": (0.5, math.inf)}})
    assert cells.read("flow, K=4", 3, {"K": 4})["figures"] == {"values": [0.5, None]}
    with pytest.raises(ValueError, match="other settings"):
        cells.read("flow, K=4", 3, {"K": 8})


def cell(*errors):
    return {"figures": {"values": list(errors)}, "parameters": 5, "flops": 2e6, "seconds": 0.001}


def test_rows_compare_seed_by_seed():
    """Means of the last points, and of the differences of the seeds that both have."""
    variants = ValueGround("small").variants(STUDIES["noise-width"])
    found = {
        "κ=0.1": {0: cell(9.0, 1.0), 1: cell(9.0, 2.0)},
        "κ=0.25": {0: cell(9.0, 1.5), 1: cell(9.0, 2.5), 2: cell(9.0, 8.0)},
        "κ=0.5": {0: cell(9.0, None)},
    }
    base, wide, diverged = rows_of(variants, found, "κ=0.1", figure="error")
    assert base.interval.mean == pytest.approx(1.5)
    assert base.difference is None
    assert wide.interval.mean == pytest.approx(4.0)
    assert wide.difference == pytest.approx((0.5, 0.5, 0.5))
    assert wide.place == 0.25
    assert diverged.interval.mean == math.inf
    table = list(csv.DictReader(io.StringIO(to_csv([base, wide], figure="error").decode())))
    assert [row["error"] for row in table] == ["1.5", "4.0"]
    assert table[0]["difference"] == ""
    assert "+0.500 [+0.500, +0.500]" in to_markdown([base, wide], figure="error", reference="κ=0.1")


@pytest.mark.parametrize("name", ["times", "strata"])
def test_a_variant_without_a_number_is_a_level_in_every_panel_of_the_figure(name):
    """A dense critic has no power of times, no κ, m or K, and is what these are compared with."""
    variants = ValueGround("small").variants(STUDIES[name])
    found = {variant.name: {0: cell(1.0), 1: cell(1.0)} for variant in variants}
    rows = rows_of(variants, found, STUDIES[name].reference, figure="error")
    figure = comparison(rows, label="error")
    placed = [row for row in rows if row.place is not None]
    assert len(figure.axes) == len({row.panel for row in placed})
    for axes in figure.axes:
        levels = [line for line in axes.lines if line.get_linestyle() == ":"]
        assert [line.get_ydata()[0] for line in levels] == [1.0] * (len(rows) - len(placed))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"name": "everything"}, "integration-steps"),
        ({"name": "critics", "variants": ("flow, K=3",)}, "flow, K=4"),
        ({"name": "critics", "seeds": (1, 1)}, "seeds"),
        ({"name": "critics", "processes": 0}, "processes is 0"),
        ({"name": "critics", "ground": "control"}, "floq data generate pointmaze-medium"),
    ],
)
def test_what_is_not_there_is_named(arguments, named, tmp_path, monkeypatch):
    """The error says what there is, before anything is written."""
    monkeypatch.setenv("FLOQ_DATA", str(tmp_path / "data"))
    with pytest.raises((ValueError, FileNotFoundError), match=named):
        run_study(**arguments, directory=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_study_goes_on_where_it_was_and_computes_nothing_twice(tmp_path):
    """A second seed leaves the first one's cell alone; the table is that of both seeds at once."""

    def study(folder, seeds):
        return run_study(
            "critics",
            seeds=seeds,
            variants=("dense ×1",),
            updates=12,
            directory=tmp_path / folder,
            progress=False,
        )

    first = study("cut", (0,)) / "cells" / folder_name("dense ×1") / "seed_0000.json"
    written = first.stat().st_mtime_ns
    study("cut", (0, 1))
    assert first.stat().st_mtime_ns == written
    study("whole", (0, 1))

    def table(folder):
        rows = csv.DictReader(io.StringIO((tmp_path / folder / "table.csv").read_text()))
        return [{name: row[name] for name in row if "second" not in name} for row in rows]

    assert table("cut") == table("whole")
    assert (tmp_path / "whole" / "figure.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.slow
def test_variants_side_by_side_come_to_what_they_come_to_one_by_one(tmp_path):
    """Each in a process of its own, with one core, they have the same errors and costs."""

    def study(processes):
        folder = run_study(
            "critics",
            seeds=(0,),
            variants=("flow, K=1", "dense ×1"),
            updates=12,
            processes=processes,
            directory=tmp_path / str(processes),
            progress=False,
        )
        return list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))

    for alone, beside in zip(study(1), study(2), strict=True):
        assert alone["variant"] == beside["variant"]
        assert alone["flops_per_update"] == beside["flops_per_update"]
        assert float(alone["error"]) == pytest.approx(float(beside["error"]), rel=1e-4)


def test_flows_of_many_steps_begin_first(tmp_path, monkeypatch):
    """They take longest, so that they do not end alone; the others begin in the table's order."""
    begun = []

    def record(jobs, **_):
        begun.extend(job["variant"] for job in jobs)
        raise RuntimeError("recorded")

    monkeypatch.setattr(runner, "compute_side_by_side", record)
    for name in ("integration-steps", "critics"):
        with pytest.raises(RuntimeError, match="recorded"):
            run_study(name, seeds=(0,), processes=2, directory=tmp_path / name, progress=False)
    assert begun[:5] == ["K=16", "K=8", "K=4", "K=2", "K=1"]
    assert begun[5:10] == [*(f"flow, K={steps}" for steps in (8, 4, 2, 1)), "dense ×1"]


def test_a_process_that_fails_is_named_and_the_others_stop(tmp_path):
    """The message has the variant and what the process said last; nobody goes on alone."""
    shared = {"ground": "value", "size": "small", "task": "", "updates": None, "seeds": [0]}
    jobs = [
        {**shared, "study": "critics", "variant": "flow, K=8", "directory": str(tmp_path)},
        {**shared, "study": "critiques", "variant": "flow, K=4", "directory": str(tmp_path)},
    ]
    work = compute_side_by_side(jobs, processes=2, should_stop=lambda: False)
    assert next(work) == ["flow, K=8", "flow, K=4"]
    with pytest.raises(RuntimeError, match=r"flow, K=4 ended with status 1(.|\n)*'critiques'"):
        list(work)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.slow
def test_a_study_that_is_interrupted_saves_and_goes_on(tmp_path):
    """Ctrl-C lets both processes save; the same command comes to what an uncut one does."""
    data = tmp_path / "data"
    generate(
        "pointmaze-medium-navigate-v0",
        episodes=20,
        processes=1,
        seed=0,
        directory=data,
        progress=False,
    )

    def start(folder):
        command = [sys.executable, "-m", "floq", "study", "critics", "--ground", "control"]
        command += ["--variants", "flow, K=4", "dense ×1", "--seeds", "0", "--updates", "400"]
        command += ["--processes", "2", "--directory", str(tmp_path / folder)]
        return subprocess.Popen(
            command,
            env=os.environ | {"FLOQ_DATA": str(data)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def cells(folder):
        found = sorted((tmp_path / folder / "cells").rglob("*.json"))
        return [json.loads(path.read_text())["figures"] for path in found]

    cut = start("cut")
    runs = tmp_path / "cut" / "runs"
    while len(list(runs.glob("*/timings.jsonl"))) < 2 and cut.poll() is None:
        time.sleep(0.2)
    cut.send_signal(signal.SIGINT)
    _, errors = cut.communicate(timeout=120)
    assert cut.returncode == 75
    assert "The same command goes on" in errors
    assert len(list(runs.glob("*/checkpoints/*"))) >= 2
    assert not cells("cut")
    for folder in ("cut", "whole"):
        whole = start(folder)
        whole.communicate(timeout=600)
        assert whole.returncode == 0
    assert cells("cut") == cells("whole")
    assert len(cells("whole")) == 2


@pytest.mark.slow
def test_what_is_distilled_is_read_on_the_value_ground():
    """The flow learns as it does alone; values are the distilled critic's."""
    statistics = Statistics(observation_dim=3, action_dim=2, reward_min=-1.0, reward_max=0.0)
    flow = FlowCriticConfig(
        integration_steps=2,
        noise_samples=4,
        members=1,
        network=NetworkConfig((8,), layer_norm=True),
    )
    keys = jax.random.split(jax.random.key(0), 5)
    observations, actions = jax.random.normal(keys[0], (6, 3)), jnp.zeros((6, 2))
    batch = Batch(observations, actions, jnp.full(6, -1.0), jnp.ones(6), 2 * observations)
    next_actions = jnp.zeros((6, 4, 2))

    def td_loss(**changes):
        config = DistilledCriticConfig(flow, **changes)
        critic = DistilledCritic(statistics, config, discount=0.9, key=keys[1])
        assert isinstance(critic, Critic)
        draws = critic.sample_draws(6, key=keys[2])
        return critic, draws, critic.td_loss(critic, batch, next_actions, 0.9, draws)

    critic, draws, (loss, targets) = td_loss()
    alone = FlowCritic(statistics, flow, discount=0.9, key=jax.random.split(keys[1])[0])
    flow_loss, expected = alone.td_loss(alone, batch, next_actions, 0.9, draws)
    np.testing.assert_array_equal(targets, expected)
    values = alone.values(observations, actions, draws.initial_noise)
    distilled = critic.distilled.values(observations, actions)
    np.testing.assert_allclose(loss - flow_loss, jnp.mean((values - distilled) ** 2), rtol=1e-4)
    np.testing.assert_array_equal(critic.values(observations, actions), distilled)
    _, _, (less, same) = td_loss(samples=2, steps=1)
    np.testing.assert_array_equal(same, targets)
    assert less != loss


@pytest.mark.slow
def test_coarse_targets_are_those_of_a_single_step():
    """Coarse to the end, a flow of two steps learns and costs what one of a single step does."""

    def result(steps, share):
        flow = FlowCriticConfig(
            integration_steps=steps,
            noise_samples=2,
            members=1,
            network=NetworkConfig((8,), layer_norm=True),
        )
        found = benchmark(
            flow.create,
            problem=Waves(side=8, transitions=256),
            training=Training(updates=4, batch_size=8, points=2, coarse_until=share),
            seeds=(0,),
            readings={"one": ReadAtSteps(1)},
        )
        ((_, only),) = found
        return only

    coarse, single = result(2, 1.0), result(1, 0.0)
    np.testing.assert_allclose(coarse.errors["one"], single.errors["one"], rtol=1e-5)
    assert coarse.flops == single.flops


CUBE = "cube-single-play-singletask-task2-v0"


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_control_has_every_study(study):
    """Each variant is trained with other settings than the others, the reference among them."""
    for size, task in (("small", demo.TASK), ("small", CUBE), ("full", CUBE)):
        ground = ControlGround(size, task)
        variants = ground.variants(study)
        names = [variant.name for variant in variants]
        assert len(set(map(folder_name, names))) == len(names) >= 5
        assert study.reference in names
        settings = [json.dumps(ground.settings(variant)) for variant in variants]
        assert len(set(settings)) == len(settings)


def test_control_alters_what_a_study_asks_for():
    """Chunks and targets are settings of the algorithm; noise and frozen features are not."""
    ground = ControlGround("small", demo.TASK)

    def config(study, name):
        variants = {variant.name: variant for variant in ground.variants(STUDIES[study])}
        return ground.config(variants[name])

    assert config("targets", "dense, 2-step").n_step == 2
    assert config("targets", "flow, chunks of 1").action_chunk == 1
    assert config("less-work", "K=1 in the first 50%").coarse_updates == demo.STEPS // 2
    assert config("recovery", "flow") == dataclasses.replace(
        control_ground.MAZE, learning_rate_decay=demo.STEPS
    )
    assert config("recovery", "dense, noise 20").target_noise == 20
    frozen = config("plasticity", "flow, frozen at 0.25")
    assert frozen.freeze_after == demo.STEPS // 4
    assert frozen.base.critic == control_ground.MAZE.critic
    assert config("update-ratio", "flow, 4 on each target").updates_per_target == 4


@pytest.mark.slow
def test_policies_are_trained_on_the_control_ground(tmp_path, monkeypatch):
    """A flow by floq and a monolith by FQL, over chunks of actions, each with its cost."""
    task = "pointmaze-medium-navigate-singletask-task1-v0"
    monkeypatch.setenv("FLOQ_DATA", str(tmp_path / "data"))
    generate(
        "pointmaze-medium-navigate-v0",
        episodes=20,
        processes=1,
        seed=0,
        directory=tmp_path / "data",
        progress=False,
    )
    monkeypatch.setattr(control_ground, "MAZE", small(control_ground.MAZE, width=8, depth=1))

    def studied(name, *variants):
        folder = run_study(
            name,
            ground="control",
            task=task,
            seeds=(0,),
            variants=variants,
            updates=2,
            # In this process, which has the smaller settings.
            processes=1,
            directory=tmp_path / name,
            progress=False,
        )
        return folder, csv.DictReader(io.StringIO((folder / "table.csv").read_text()))

    _, (flow, dense) = studied("critics", "flow, K=4", "dense ×1")
    assert {flow["variant"], dense["variant"]} == {"flow, K=4", "dense ×1"}
    assert 0 <= float(flow["success"]) <= 1
    assert float(flow["flops_per_update"]) > float(dense["flops_per_update"]) > 0
    folder, (published, fast) = studied("less-work", "as published", "fast")
    assert float(fast["flops_per_update"]) < float(published["flops_per_update"])
    run = folder / "runs" / "fast-seeds-0"
    settings = json.loads((run / "config.json").read_text())["config"]
    precisions = [settings[name]["network"]["precision"] for name in ("critic", "policy")]
    assert precisions == ["bfloat16"] * 2
    _, rows = studied("update-ratio", "dense, 1 on each target", "dense, 2 on each target")
    once, twice = (float(row["flops_per_update"]) for row in rows)
    assert once == pytest.approx(twice, rel=0.01)
