"""Policies as they are before the first update, of every kind that can be exported."""

import functools

import jax
import jax.numpy as jnp

import floq
from floq.algorithms import find_algorithm
from floq.export import Trained
from floq.networks.mlp import NetworkConfig
from floq.types import Statistics

STATISTICS = Statistics(5, 2, -1.0, 0.0)
NET = NetworkConfig(hidden_sizes=(8, 8), layer_norm=True)
RESIDUAL = NetworkConfig(hidden_sizes=(8,), residual_blocks=2)
POLICY = floq.FlowPolicyConfig(network=NET, flow_steps=3)


def flow(**settings):
    return floq.FlowCriticConfig(network=NET, integration_steps=2, noise_samples=2, **settings)


CONFIGS = {
    "one step": floq.FloqConfig(policy=POLICY, critic=flow()),
    "best by a flow": floq.FloqConfig(policy=POLICY, critic=flow(), candidates=4),
    "best by a pessimist": floq.FloqConfig(
        policy=POLICY, critic=flow(pessimism=0.5, sampling="strata"), candidates=4
    ),
    "best by another flow": floq.FQLConfig(
        policy=POLICY,
        critic=flow(
            aggregation="min",
            method="rk4",
            time_embedding="fourier",
            value_embedding="scalar",
        ),
        candidates=4,
    ),
    "best by end points": floq.FQLConfig(
        policy=POLICY,
        critic=flow(method="midpoint", prediction="endpoint", time_embedding="identity"),
        candidates=4,
    ),
    "best by quantiles": floq.FQLConfig(
        policy=POLICY, critic=floq.QuantileCriticConfig(network=NET), candidates=4
    ),
    "best by a histogram": floq.FQLConfig(
        policy=POLICY, critic=floq.CategoricalCriticConfig(network=NET), candidates=4
    ),
    "ifql": floq.IFQLConfig(policy=POLICY, candidates=4),
    "iql": floq.IQLConfig(policy=floq.GaussianPolicyConfig(network=RESIDUAL)),
    "rebrac": floq.ReBRACConfig(policy=floq.DeterministicPolicyConfig(network=NET)),
    "rebrac without tanh": floq.ReBRACConfig(
        policy=floq.DeterministicPolicyConfig(network=NET, squash=False, head_scale=9.0)
    ),
    "bc": floq.BCConfig(policy=POLICY),
}


@functools.cache
def untrained(config, statistics=STATISTICS):
    """A policy as it is before the first update; its actions differ from state to state."""
    name = floq.algorithms.algorithm_of(config)[0]
    algorithm = find_algorithm(name)
    state = algorithm.init(config, statistics, key=jax.random.key(0))
    facts = {"run": {}, "figures": {}, "versions": {}}
    return Trained(algorithm, name, config, state, statistics, (-1.0, 0.0), (1.0, 4.0), facts)


def acted(trained, rows, keys):
    """The actions of the policy in training."""
    rows = jnp.asarray(rows)
    act = jax.jit(lambda state: trained.algorithm.act(trained.config, state, rows, keys=keys))
    return act(trained.state)
