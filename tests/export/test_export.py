"""Policies that leave act as they did, without floq, or say why they cannot."""

import dataclasses
import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kinds import CONFIGS, POLICY, STATISTICS, acted, flow, untrained

import floq
from floq.cli import main
from floq.export import export_policy, floq_policy, in_memory, load_policy
from floq.export import folder as written
from floq.export.decision import decision_of
from floq.export.floq_policy import draw_noise, fingerprint, manifest
from floq.networks.mlp import NetworkConfig


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The finished run as folders of jax and numpy."""
    folder = tmp_path_factory.mktemp("exported")
    for kind in ("jax", "numpy"):
        finished.export(folder / kind, format=kind, policy_seed=5)
    return folder


def observations(rows=6, size=5, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)


SLOW = {name for name in CONFIGS if name.startswith("best by")} | {"ifql"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CONFIGS],
)
def test_numpy_acts_as_every_policy(name, tmp_path):
    """Given the noise that the policy draws, numpy's program gives its actions within 1e-5."""
    trained = untrained(CONFIGS[name])
    policy = load_policy(export_policy(trained, tmp_path / "out", format="numpy"))
    decision = decision_of(trained.config, trained.state.parameters)
    assert decision is not None
    keys, rows = jax.random.split(jax.random.key(3), 6), observations()
    wanted = acted(trained, rows, keys)
    noise = [np.asarray(one) for one in decision.draw(keys)]
    np.testing.assert_allclose(policy.program(rows, *noise), wanted, atol=1e-5)
    assert float(np.std(np.asarray(wanted))) > 1e-3
    assert policy.record["check"]["largest_difference"] <= 1e-5


def test_the_critic_of_what_is_planned_chooses(tmp_path):
    """Where the flow critic reads two steps and one is planned, the distilled critic chooses."""
    config = floq.FloqConfig(policy=POLICY, critic=flow(), candidates=4, critic_chunk=2)
    data = STATISTICS._replace(action_dim=2 * STATISTICS.action_dim)
    trained = untrained(config, data)
    policy = load_policy(export_policy(trained, tmp_path / "out", format="numpy"))
    keys, rows = jax.random.split(jax.random.key(3), 6), observations()
    wanted = acted(trained, rows, keys)
    decision = decision_of(trained.config, trained.state.parameters)
    assert decision is not None
    noise = [np.asarray(one) for one in decision.draw(keys)]
    np.testing.assert_allclose(policy.program(rows, *noise), wanted, atol=1e-5)
    assert policy.record["chunk"] == 1


def test_starts_come_from_strata_where_the_critic_s_do():
    """Of four starts one lies in each quarter of the interval."""
    spec = {"shape": [4], "distribution": "strata", "low": -8.0, "high": 0.0}
    (drawn,) = draw_noise({"noise": [spec]}, 50, [0])
    np.testing.assert_array_equal(np.sort(np.floor(drawn / 2), axis=1), [[-4, -3, -2, -1]] * 50)
    assert len(np.unique(np.argsort(drawn, axis=1), axis=0)) > 10


def test_numpy_refuses_a_diffusion(tmp_path):
    """Its program has flows alone; the error names what has diffusions."""
    policy = dataclasses.replace(POLICY, path="variance_preserving")
    with pytest.raises(ValueError, match="no diffusion: export it with --format jax"):
        export_policy(untrained(floq.BCConfig(policy=policy)), tmp_path / "out", format="numpy")


@pytest.mark.parametrize(
    "name", ["best by a flow", pytest.param("ifql", marks=pytest.mark.slow), "rebrac"]
)
def test_jax_acts_alike_in_any_batch(name, tmp_path, shapes_unchecked):
    """jax.export's program takes batches of any size, and gives the policy's actions."""
    trained = untrained(CONFIGS[name])
    policy, own = load_policy(export_policy(trained, tmp_path / "out")), in_memory(trained)
    assert policy.record["platforms"] == ["cpu", "cuda"]
    for rows in (1, 3):
        given = observations(rows)
        np.testing.assert_allclose(policy.act(given), own.act(given), atol=1e-5)
        policy.reset(), own.reset()


@pytest.mark.extras
@pytest.mark.parametrize("name", CONFIGS)
def test_onnx_acts_as_every_policy(name, tmp_path, shapes_unchecked):
    """The ONNX file alone gives the policy's actions within 1e-5, and says its opset."""
    trained = untrained(CONFIGS[name])
    policy, own = (
        load_policy(export_policy(trained, tmp_path / "out", format="onnx")),
        in_memory(trained),
    )
    assert policy.record["opset"] == 21
    np.testing.assert_allclose(policy.act(observations()), own.act(observations()), atol=1e-5)


def test_a_chunk_is_carried_out_in_the_environment_s_units(finished, exported):
    """Actions are those of the run's policy, one after the other, between low and high."""
    low, high = map(np.array, finished.action_bounds)
    policies = [load_policy(exported / kind, seed=4) for kind in ("jax", "numpy")]
    state = finished.state_of(5)
    one_step = state.parameters.policy
    states = observations(5, 2)
    for step, observation in enumerate(states):
        found = [policy.act(observation) for policy in policies]
        asked = step - step % 2
        noise = draw_noise(policies[0].record, 1, [4, 0, asked])
        given = jnp.asarray(states[asked][None])
        plan = np.asarray(one_step.actions(given, jnp.asarray(noise[0]))).reshape(2, 2)
        wanted = low + (plan[step % 2] + 1) * (high - low) / 2
        np.testing.assert_allclose(found, [wanted, wanted], atol=1e-5)


def test_the_noise_is_the_seed_s(exported):
    """The same seed and calls repeat; another seed and another episode differ; rows are kept."""
    first, again, other = (load_policy(exported / "numpy", seed=seed) for seed in (0, 0, 1))
    rows = observations(3, 2)
    actions = first.act(rows)
    np.testing.assert_array_equal(again.act(rows), actions)
    assert np.abs(other.act(rows) - actions).max() > 1e-3
    first.reset()
    assert np.abs(first.act(rows) - actions).max() > 1e-3
    again = load_policy(exported / "numpy", seed=0)
    np.testing.assert_allclose(again.act(rows[0]), actions[0], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ("numpy", ("floq", "jax", "safetensors")),
        ("jax", ("floq", "equinox", "safetensors")),
        pytest.param("onnx", ("floq", "jax", "onnx", "jax2onnx"), marks=pytest.mark.extras),
    ],
)
def test_it_acts_where_floq_is_not(kind, missing, finished, exported, tmp_path):
    """A fresh process with numpy, and the format's own package, gives the same actions."""
    folder = tmp_path / kind
    finished.export(folder, format=kind, policy_seed=5)
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r}))\n"
        "import json, numpy, floq_policy\n"
        "policy = floq_policy.load_policy(sys.argv[1], seed=2)\n"
        "states = json.loads(sys.argv[2])\n"
        "print(json.dumps([policy.act(state).tolist() for state in states]))\n"
        f"assert not any(sys.modules.get(name) for name in {missing!r})"
    )
    states = observations(3, 2)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), json.dumps(states.tolist())],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    policy = load_policy(exported / "numpy", seed=2)
    wanted = [policy.act(state) for state in states]
    np.testing.assert_allclose(json.loads(done.stdout), wanted, atol=1e-5)


def test_only_what_acts_is_written(exported):
    """No optimizer, no critic, no slow copy: the one-step policy's weights alone."""
    size = (exported / "jax" / "weights.safetensors").stat().st_size
    inputs, width, actions = 2 + 4, 8, 4
    numbers = (inputs + 1) * width + (width + 1) * actions
    assert 4 * numbers <= size <= 4 * numbers + 1000
    assert (exported / "jax" / "program.jaxexport").stat().st_size < 20_000


def test_bfloat16_is_left_in_training(tmp_path):
    """A policy that was trained in bfloat16 is exported in float32, and that is said."""
    network = NetworkConfig(hidden_sizes=(8,), precision="bfloat16")
    config = floq.FloqConfig(policy=floq.FlowPolicyConfig(network=network), critic=flow())
    record = load_policy(export_policy(untrained(config), tmp_path / "out", format="numpy")).record
    assert record["precision"] == "float32"
    assert 0 < record["trained_precision"]["median_difference"] < 0.05


@pytest.mark.parametrize("kind", ["jax", "numpy"])
def test_damage_is_found_and_named(kind, exported, tmp_path):
    """A bit of any file that is read: the error names the folder or the file."""
    folder = tmp_path / "damaged"
    shutil.copytree(exported / kind, folder)
    for path in sorted(folder.iterdir()):
        if path.name == "README.md":
            continue  # Users may write on the card.
        sound = path.read_bytes()
        for place in (0, len(sound) // 2, len(sound) - 1):
            path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
            with pytest.raises(ValueError, match="damaged"):
                load_policy(folder)
        path.unlink()
        words = rf"{path.name} is missing|it has no manifest\.json"
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            load_policy(folder)
        path.write_bytes(sound)
    load_policy(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"program": "torch"},
        {"chunk": 10**9},
        {"observations": {"shape": [2**14, 2**14, 3], "dtype": "uint8"}},
        {"observations": {"shape": [2], "dtype": "float32", "frames": 2**19}},
        {"observations": {"parts": {"a": {"shape": [2], "dtype": "O"}}}},
        {"noise": [{"name": "noise", "shape": [2**19, 2**19], "distribution": "normal"}]},
        {"actions": {"low": [0.0], "high": [float("inf")]}},
        {"network": {"kind": "one step", "policy": {"layers": 10**9, "block_size": 0}}},
    ],
)
def test_what_a_manifest_vouches_for_is_read_with_care(change, exported, tmp_path):
    """A record that no policy has is refused by a sentence, before anything is computed."""
    folder = tmp_path / "foreign"
    shutil.copytree(exported / "numpy", folder)
    record = json.loads((folder / "policy.json").read_bytes()) | change
    content = json.dumps(record).encode()
    (folder / "policy.json").write_bytes(content)
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    files["policy.json"] = fingerprint(content)
    (folder / "manifest.json").write_bytes(manifest(files))
    with pytest.raises(ValueError, match="cannot be used"):
        load_policy(folder)


@pytest.mark.parametrize("seed", ["a", None, -1, 1.5, True, 2**32])
def test_a_seed_that_no_noise_has_is_refused(seed, tmp_path):
    """By its value, before anything is read or computed."""
    with pytest.raises(ValueError, match=r"seed is .*: give a whole number from 0"):
        load_policy(tmp_path, seed=seed)


def test_a_reset_before_the_first_act_changes_nothing(exported):
    """As the card has it; also where a policy is used again."""
    first, again = (load_policy(exported / "numpy") for _ in range(2))
    again.reset(), again.reset()
    rows = observations(2, 2)
    np.testing.assert_array_equal(again.act(rows), first.act(rows))
    first.reset(), again.reset()
    np.testing.assert_array_equal(again.act(rows), first.act(rows))


def test_a_foreign_folder_is_told(tmp_path, finished):
    """A run, an empty folder and none at all hold no exported policy."""
    for folder in (finished.directory, tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match="no exported policy"):
            load_policy(folder)


def test_a_folder_with_something_in_it_is_left_alone(finished, tmp_path):
    """Nothing is overwritten."""
    (tmp_path / "mine").touch()
    with pytest.raises(FileExistsError, match="not empty"):
        finished.export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_who_acts_in_a_way_of_its_own_is_refused(tmp_path):
    """An algorithm whose actions are not its policy's would leave as another one."""
    trained = untrained(CONFIGS["rebrac"])

    class Slower:
        @staticmethod
        def act(config, state, observations, *, keys):
            return 0.5 * trained.algorithm.act(config, state, observations, keys=keys)

    with pytest.raises(ValueError, match="acts in a way of its own"):
        export_policy(trained._replace(algorithm=Slower), tmp_path / "out")
    with pytest.raises(ValueError, match="acts in a way of its own"):
        export_policy(trained._replace(state=()), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_the_record_and_the_card_say_what_it_is(exported, finished):
    """Spaces, chunk, noise, versions, figures; the card has the three lines that use it."""
    record = json.loads((exported / "jax" / "policy.json").read_bytes())
    assert record["chunk"] == 2
    assert record["observations"]["shape"] == [2]
    assert record["actions"]["low"] == list(finished.action_bounds[0])
    assert record["noise"] == [{"name": "noise", "shape": [4], "distribution": "normal"}]
    assert record["run"]["seed"] == 5
    assert record["run"]["step"] == record["figures"]["step"] == 4
    assert record["versions"]["floq"] == floq.__version__
    card = (exported / "jax" / "README.md").read_text()
    assert "floq_policy.load_policy" in card
    assert "pointmaze" in card
    assert f"| success_high | {record['figures']['success_high']:.3f} |" in card


def test_the_program_of_numpy_is_short():
    """As it promises: at most 150 lines, which import numpy alone."""
    from floq.export import floq_network

    lines = Path(floq_network.__file__).read_text().splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if "import" in line] == ["import math", "import numpy as np"]


def test_the_command_writes_into_the_run(copy, capsys):
    """By default the folder lies in the run's; a second export of the same does not replace it."""
    run = copy()
    assert main(["export", str(run), "--format", "numpy"]) == 0
    assert f"Wrote {run / 'export-numpy'}" in capsys.readouterr().out
    assert load_policy(run / "export-numpy").record["run"]["seed"] == 3
    (run / "file").touch()
    for options, words in (
        (["--format", "numpy"], "not empty"),
        (["--policy-seed", "4"], "has no seed 4"),
        (["-o", f"{run}/file/export"], "cannot be written"),
    ):
        assert main(["export", str(run), *options]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert "Writing the program" not in said


def test_the_export_of_a_shared_run_lies_where_one_works(copy, tmp_path, monkeypatch, capsys):
    """In a folder of the run's name: neither in the Hub's cache nor in one called hf:OWNER."""
    monkeypatch.setattr("floq.runs.run.fetch", lambda place, run=copy(): run)
    monkeypatch.chdir(tmp_path)
    assert main(["export", "hf:me/arm@v1.0", "--format", "numpy"]) == 0
    assert "Wrote arm/export-numpy;" in capsys.readouterr().out
    assert load_policy(tmp_path / "arm" / "export-numpy").record["run"]["seed"] == 3
    assert not (tmp_path / "hf:me").exists()


def test_an_export_in_place_of_a_run_is_told(exported, capsys):
    """Whatever wants a run says what it is, and what it is for."""
    for name in ("export", "evaluate", "watch", "report"):
        assert main([name, str(exported / "numpy")]) == 2
        assert "it is an exported policy, for floq.load_policy" in capsys.readouterr().err


def test_onnx_asks_for_its_extra_first(tmp_path, monkeypatch, capsys):
    """Before anything is read, with the command that brings it."""
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    assert main(["export", str(tmp_path), "--format", "onnx"]) == 2
    assert "floq[export]" in capsys.readouterr().err


def test_an_actor_of_the_wrong_size_is_told(exported):
    """Observations of another shape, not finite, or of another batch are refused."""
    policy = load_policy(exported / "numpy")
    with pytest.raises(ValueError, match="shape"):
        policy.act(np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        policy.act([0.0, np.nan])
    policy.act(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="reset"):
        policy.act(np.zeros(2))


@pytest.mark.parametrize(("candidates", "rows"), [(0, 1), (16, 3)])
def test_choices_that_rounding_decides_are_no_difference(candidates, rows, tmp_path, monkeypatch):
    """Two rows of 256 where the policy chooses among candidates; none where it does not."""
    actions = np.zeros((256, 2), np.float32)
    checked = written._Checked(None, {}, [actions], actions)
    monkeypatch.setattr(written, "draw_noise", lambda *_: [])

    def differing(count):
        found = actions + 1e-7
        found[100 : 100 + count] = 0.5
        record = {"candidates": candidates, "program": "numpy"}
        policy = types.SimpleNamespace(record=record, program=lambda one: found[: len(one)])
        monkeypatch.setattr(written, "load_policy", lambda _: policy)

    differing(rows - 1)
    assert written._difference(tmp_path, checked) == pytest.approx(1e-7)
    differing(rows)
    with pytest.raises(ValueError, match=r"differs from the policy by 0\.5 on 256"):
        written._difference(tmp_path, checked)


def test_a_missing_onnxruntime_is_named(monkeypatch):
    """On the machine that a folder was copied to, where it is the likeliest package to miss."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeError, match=r"needs onnxruntime.*pip install onnxruntime"):
        floq_policy._onnx_program({}, {}, 1)
