import json
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from html_pages import Page, assert_stands_alone, read

from floq.algorithms import floq
from floq.algorithms.common import feature_norms
from floq.cli import main
from floq.data.dataset import Dataset
from floq.inspecting import inspect
from floq.reports.inspection_page import whose_values
from floq.reports.rollout import rollout_sections
from floq.training.preparation import as_decisions

SECTIONS = [
    "In numbers",
    "Values against the returns that followed",
    "Trajectories, from noise to value",
    "Curvature",
    "Spread of the end over starts",
    "Damping of errors",
    "The same critic at other K",
    "Feature norms over training",
]
WITHOUT_FLOW = [SECTIONS[0], SECTIONS[1], SECTIONS[-1]]


@pytest.fixture
def near(copy):
    """Copies of the run with a discount by which seven steps are a whole return."""

    def make(*, candidates=0, **changes):
        path = copy(**changes)
        config = json.loads((path / "config.json").read_text())
        config["config"] |= {"discount": 0.5, "candidates": candidates}
        (path / "config.json").write_text(json.dumps(config))
        return path

    return make


def test_page_has_each_part(near, maze_data, tmp_path):
    """All pictures are there, each with what a healthy one looks like, and nothing is missing."""
    output = tmp_path / "new" / "page.html"
    inspect(
        near(candidates=2),
        output=output,
        dataset=maze_data,
        episodes=2,
        integration_steps=(1,),
        processes=0,
    )
    assert_stands_alone(output)
    page = read(output)
    assert page.titles == SECTIONS
    assert page.text.count("Healthy: ") == len(SECTIONS) - 1
    # The policy never arrives, so that one thing cannot be told.
    assert page.attributes.count(("class", "missing")) == 1
    assert "All returns are equal" in page.text
    # Pairs of panels, the trajectories, and the norms.
    assert len(page.images) == 5 * 2 + 2
    assert all(dict(page.attributes)["alt"] for _ in page.images)
    assert "of the data" in page.text
    assert "nan" not in page.text
    assert "best of several candidates" in page.text


@pytest.mark.parametrize(
    ("candidates", "target_candidates", "words"),
    [
        (0, 0, "learned the values of the policy that plays"),
        (4, 0, "but the critic learned the values of the one-step policy"),
        (0, 4, "The one-step policy acts, but"),
        (16, 8, "acts by the best of 16 candidates, .* by the best of 8: nearly"),
    ],
)
def test_it_is_said_whose_values_they_are(candidates, target_candidates, words):
    """By what acts, and by what the targets suppose to act."""
    config = floq.Config(candidates=candidates, target_candidates=target_candidates)
    assert re.search(words, whose_values(config))


@pytest.mark.slow
def test_without_environment_the_data_is_compared(near, maze_data, tmp_path):
    """The data's own returns stand in, with the warning that they are another policy's."""
    output = tmp_path / "page.html"
    inspect(near(environment=None), output=output, dataset=maze_data, integration_steps=(1,))
    page = read(output)
    assert page.titles == SECTIONS
    assert "returns of whoever collected the data" in page.text
    assert page.text.count("success") == 1


@pytest.mark.slow
def test_without_data_the_episodes_are_looked_at(near, tmp_path):
    """The flow is followed on decisions of the policy, and the page says so."""
    output = tmp_path / "page.html"
    inspect(near(), output=output, policy_seed=5, episodes=1, integration_steps=(1,), processes=0)
    page = read(output)
    assert page.titles == SECTIONS
    assert "three pairs (s, a) of the policy's episodes" in page.text
    assert "seed 5" in page.text
    assert "never its success" in page.text


def test_without_both_it_is_said(near, tmp_path):
    """A run of somebody's own data alone still has its feature norms."""
    output = tmp_path / "page.html"
    inspect(near(environment=None), output=output)
    page = read(output)
    assert page.titles == WITHOUT_FLOW
    assert "no environment" in page.text
    assert "give its data as `dataset`" in page.text


def test_other_critics_have_what_makes_sense(near, finished, maze_data, tmp_path, monkeypatch):
    """A scalar critic has values against returns and feature norms; the page says why no more."""
    distilled = finished.state_of(3).parameters.distilled
    monkeypatch.setattr("floq.inspection.probe.critic_of", lambda run, seed: distilled)
    output = tmp_path / "page.html"
    inspect(near(), output=output, dataset=maze_data, episodes=1, processes=0)
    page = read(output)
    assert page.titles == WITHOUT_FLOW
    assert len(page.images) == 3
    assert "A ScalarCritic is no flow" in page.text
    # A report shows the value of every critic.
    page = Page("".join(rollout_sections(finished)))
    assert "A ScalarCritic is no flow" in page.text
    assert "learned value along the rollout" in [value for _, value in page.attributes]


def test_feature_norms_are_those_of_the_critics(finished, maze_data):
    """Lengths of the features, a mean over rows and members; every update of a run logs them."""
    parameters = finished.state_of(3).parameters
    batch = as_decisions(maze_data, finished.config.config).take(jnp.arange(4))
    norms = eqx.filter_jit(feature_norms)(parameters, batch)
    assert set(norms) == {"critic/feature_norm", "distilled/feature_norm"}
    for name in ("critic", "distilled"):
        critic = getattr(parameters, name)
        noise = critic.sample_noise((4, 1), key=jax.random.key(0))
        features = eqx.filter_jit(critic.features)(batch.observations, batch.actions, noise)
        expected = np.sqrt(np.square(np.asarray(features)).sum(axis=-1)).mean()
        assert float(norms[f"{name}/feature_norm"]) == pytest.approx(expected, rel=1e-5)
    # Four updates from random networks move the norm of eight features by little.
    logged = finished.metrics[-2]
    assert logged["seed"] == 3
    assert logged["critic/feature_norm"] == pytest.approx(
        float(norms["critic/feature_norm"]), rel=0.1
    )


def test_wrong_input_is_refused(near, maze_data, tmp_path):
    """Another dataset, a seed that is not there, no episode."""
    output = tmp_path / "page.html"
    other = Dataset.from_trajectories([[0.0], [1.0]], [[0.0], [0.0]], [0, 0], [1, 1], [0, 1])
    path = near()
    with pytest.raises(ValueError, match="another dataset"):
        inspect(path, output=output, dataset=other)
    with pytest.raises(ValueError, match="no seed 4"):
        inspect(path, output=output, policy_seed=4)
    with pytest.raises(ValueError, match="episodes is 0"):
        inspect(path, output=output, episodes=0)
    assert not output.exists()


def test_evaluate_prints_a_table_of_k(near, capsys):
    """A row for each K and that of training, and whether acting depends on it."""
    words = f"evaluate {near()} --episodes 1 --processes 0 --integration-steps 1".split()
    assert main(words) == 0, capsys.readouterr().err
    header, first, trained, *rest = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "K"
    assert (first.split()[0], trained.split()[0]) == ("1", "3")
    assert "does not read the flow as it acts" in rest[-1]
    assert main(f"evaluate {near(name='b')} --integration-steps 0".split()) == 2
    assert "integration_steps is 0" in capsys.readouterr().err
