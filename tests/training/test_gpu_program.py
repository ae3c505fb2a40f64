"""What a GPU is given to do, read from the program that is lowered for one: none is needed."""

import dataclasses
import math
import re
from typing import NamedTuple

import jax
import jaxtyping
import numpy as np
import pytest

import floq
from floq.algorithms import algorithm_of
from floq.compute import update_flops
from floq.data.dataset import Dataset
from floq.runs.states import initial_states
from floq.training.learner import Learner
from floq.training.seed_groups import SeedGroups

OBSERVATION, ACTION, ROWS, BATCH = 28, 5, 1_000, 256
# The paper's size; the behaviour flow's steps are as many as are written out.
PAPER = floq.FloqConfig(policy=floq.FlowPolicyConfig(flow_steps=8))
_PRODUCT = re.compile(
    r"dot_general .*?contracting_dims = \[([\d, ]*)\] x .*?: "
    r"\(tensor<(\S+)xf32>, tensor<(\S+)xf32>\) -> tensor<(\S+)xf32>"
)


class Program(NamedTuple):
    """What is lowered.

    Attributes:
        text: The program.
        carried: Arrays that go from update to update.
        statistics: Sizes of the data.
    """

    text: str
    carried: int
    statistics: floq.Statistics

    @property
    def products(self):
        """Operations and bytes of each matrix product of an update, as often as it is made."""
        functions = {
            part.split("(", 1)[0].split("@")[1]: part for part in self.text.split("func.func ")[1:]
        }

        def all_of(name):
            own = [_product(*found) for found in _PRODUCT.findall(functions[name])]
            assert len(own) == functions[name].count("stablehlo.dot_general")
            for called in re.findall(r"call @([\w.]+)\(", functions[name]):
                own += all_of(called)
            return own

        return all_of("main")


def _product(contracted, *shapes):
    left, right, out = ([int(size) for size in shape.split("x")] for shape in shapes)
    inner = math.prod(left[int(axis)] for axis in contracted.split(","))
    return 2 * math.prod(out) * inner, 4 * sum(map(math.prod, (left, right, out)))


def lowered(config, seeds):
    """The program of a training's updates for a GPU."""
    generator = np.random.default_rng(0)
    states = generator.normal(size=(ROWS, OBSERVATION)).astype(np.float32)
    actions = generator.uniform(-1, 1, (ROWS, ACTION)).astype(np.float32)
    rewards = generator.uniform(-1, 0, ROWS).astype(np.float32)
    data = Dataset.from_transitions(states, actions, rewards, np.ones(ROWS), states)
    _, rule = algorithm_of(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "cuda")
        state = initial_states(rule, config, data.statistics, seeds)
        groups = SeedGroups(Learner.of(rule, config), seeds, state, data)
        (group,) = groups._groups
        # jax rebuilds the dataset with descriptions in its arrays' place.
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        program = jax.export.export(groups._programs.update, platforms=["cuda"])(
            group.carry, group.seeds, None, np.array([0, 1], np.int32), data
        )
    carried = len(jax.tree.leaves(group.carry))
    return Program(program.mlir_module(), carried, data.statistics)


@pytest.fixture(scope="module")
def one():
    """The paper's size, one seed."""
    return lowered(PAPER, (0,))


def test_an_update_asks_nothing_of_the_host(one):
    """No callback, nor any function from outside the program; nothing is in double precision."""
    assert "custom_call" not in one.text
    assert "f64" not in one.text
    assert one.text.count("stablehlo.while") == 1  # Over updates: all steps are written out.


def test_the_state_is_updated_in_place(one):
    """Parameters, moments and sums are given to the program, so that memory holds them once."""
    assert one.text.count("tf.aliasing_output") == one.carried > 100


def test_its_products_are_the_method_s(one):
    """Nearly all operations are in them, and none is made twice."""
    counted = sum(flops for flops, _ in one.products)
    assert 0.95 < counted / update_flops(PAPER, one.statistics) < 1


@pytest.mark.slow
def test_seeds_and_members_share_products(one):
    """Two seeds make as many products as one, each twice as large; so do members."""
    two = lowered(PAPER, (0, 1))
    assert [flops for flops, _ in two.products] == [2 * flops for flops, _ in one.products]
    alone = dataclasses.replace(PAPER, critic=dataclasses.replace(PAPER.critic, members=1))
    assert len(lowered(alone, (0,)).products) == len(one.products)
