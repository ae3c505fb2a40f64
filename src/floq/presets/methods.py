"""Published settings: what each method uses for each of the paper's tasks (arXiv 2509.06863)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from floq.algorithms import (
    algorithm_names,
    algorithm_of,
    bc,
    find_algorithm,
    floq,
    fql,
    ifql,
    iql,
    rebrac,
)
from floq.critics import (
    CategoricalCriticConfig,
    FlowCriticConfig,
    QuantileCriticConfig,
    ScalarCriticConfig,
)
from floq.data.paths import dataset_name
from floq.networks import NetworkConfig
from floq.observations import EncoderConfig
from floq.policies import FlowPolicyConfig, GaussianPolicyConfig
from floq.presets.changes import fast, small
from floq.presets.domains import VISUAL, configs_by_domain, discounted_by_domain
from floq.settings import given, nearest


class Preset(NamedTuple):
    """Settings for a task, and where they come from.

    Attributes:
        config: The algorithm's config.
        source: Who says so, for people to read.
        published: Whether they are published for this very task, or made of such by the method.
    """

    config: Any
    source: str
    published: bool


class Method(NamedTuple):
    """A method that has presets.

    Attributes:
        summary: What it is, in a line.
        start: Its settings on any task that it has no others for.
        advice: What to do with those.
        source: Where its settings come from.
        configs: Its settings by the exact name of the dataset, all of whose tasks share them.
    """

    summary: str
    start: Any
    advice: str
    source: str = "no published settings"
    configs: Mapping[str, Any] = {}


_TWO_LAYERS = NetworkConfig((512, 512), layer_norm=True)


_FLOQ = {
    "cube-single-play-v0": {"critic": {"network": _TWO_LAYERS}},
    "cube-double-play-v0": {"critic": {"network": _TWO_LAYERS}},
}
_FQL = {"humanoidmaze-large-navigate-v0": {"bc_coefficient": 30.0}}
_START = {"normalize_q": True, "bc_coefficient": 0.3}
_ADVICE = "tune bc_coefficient in 0.03, 0.1, 0.3, 1, 3, 10"
_FLOQ_ADVICE = f"{_ADVICE}, then critic.integration_steps in 4, 8, 16 and noise_coverage in .1, .25"
_PAPER = "arXiv 2509.06863"


_UNTUNED = "nothing here was tuned for it"
_OWN = "settings of your own"


def _residual(depth: int, blocks: int) -> NetworkConfig:
    return NetworkConfig((512,) * depth, residual_blocks=blocks, layer_norm=True)


_SMALL = small(
    floq.Config(
        critic=FlowCriticConfig(integration_steps=4, noise_samples=4),
        policy=FlowPolicyConfig(flow_steps=5),
        batch_size=128,
        learning_rate=1e-3,
        target_rate=0.02,
        candidates=16,
        target_candidates=8,
        distillation_samples=2,
        distillation_steps=1,
    ),
    depth=2,
)

METHODS = {
    "floq": Method(
        "flow critic with a distilled critic, one setting of K and κ for all tasks",
        floq.Config(**_START),
        _FLOQ_ADVICE,
        f"{_PAPER}, the default settings of its tables",
        configs_by_domain(floq.Config(), _FLOQ),
    ),
    "floq-best": Method(
        "floq with K and κ chosen for each domain",
        floq.Config(**_START),
        _FLOQ_ADVICE,
        f"{_PAPER}, the settings of its column of best results",
        configs_by_domain(
            floq.Config(),
            _FLOQ
            | {
                "antmaze-giant-navigate-v0": {"critic": {"integration_steps": 4}},
                "puzzle-4x4-play-v0": {"critic": {"noise_coverage": 0.25}},
            },
        ),
    ),
    "floq-online": Method(
        "floq for offline-to-online fine-tuning, the same settings in both phases",
        floq.Config(**_START),
        _FLOQ_ADVICE,
        f"{_PAPER}, offline-to-online",
        configs_by_domain(
            floq.Config(),
            _FLOQ
            | {
                "antmaze-giant-navigate-v0": {"critic": {"integration_steps": 4}},
                "humanoidmaze-large-navigate-v0": {"critic": {"integration_steps": 16}},
                "antsoccer-arena-navigate-v0": {"bc_coefficient": 30.0},
                "puzzle-4x4-play-v0": {"critic": {"noise_coverage": 0.25}},
            },
        ),
    ),
    "floq-fast": Method(
        "floq with less work in an update: 2 samples and 1 step to distil, and bfloat16 products "
        "where the processor has units for them",
        fast(floq.Config(**_START)),
        _FLOQ_ADVICE,
        f"{_PAPER}, the default settings of its tables, with less work in an update",
        {name: fast(config) for name, config in configs_by_domain(floq.Config(), _FLOQ).items()},
    ),
    "floq-small": Method(
        "floq with small networks, which acts by the best of several actions: for a CPU",
        _SMALL,
        "tune discount and action_chunk, then target_rate in .005, .02, .05",
    ),
    "fql": Method(
        "the same policy with a plain critic",
        fql.Config(**_START),
        _ADVICE,
        f"{_PAPER}, its FQL baseline",
        configs_by_domain(fql.Config(), _FQL),
    ),
    "fql-visual": Method(
        "FQL on OGBench's visual tasks: three frames, impala_small, 500k updates",
        fql.Config(encoder=EncoderConfig(frames=3), **_START),
        _ADVICE,
        "arXiv 2502.02538, its visual tasks",
        {
            name: fql.Config(bc_coefficient=alpha, encoder=EncoderConfig(frames=3))
            for name, alpha in VISUAL.items()
        },
    ),
    "fql-online": Method(
        "FQL for offline-to-online fine-tuning",
        fql.Config(**_START),
        _ADVICE,
        f"{_PAPER}, its FQL baseline offline-to-online",
        configs_by_domain(
            fql.Config(), {"humanoidmaze-large-navigate-v0": {"bc_coefficient": 40.0}}
        ),
    ),
    "fql-resnet": Method(
        "FQL with a residual critic",
        fql.Config(critic=ScalarCriticConfig(network=_residual(2, 4)), **_START),
        _ADVICE,
        f"{_PAPER}, its FQL-ResNet baseline",
        configs_by_domain(
            fql.Config(),
            {
                "antmaze-giant-navigate-v0": {"critic": {"network": _residual(4, 2)}},
                "humanoidmaze-large-navigate-v0": {
                    "critic": {"network": _residual(2, 4)},
                    "bc_coefficient": 20.0,
                },
            },
            only_changed=True,
        ),
    ),
    "fql-iqn": Method(
        "FQL with an implicit quantile critic",
        fql.Config(critic=QuantileCriticConfig(), **_START),
        _ADVICE,
        f"{_PAPER}, its FQL-IQN baseline",
        configs_by_domain(fql.Config(critic=QuantileCriticConfig()), _FQL),
    ),
    "fql-categorical": Method(
        "FQL with a categorical critic, trained by HL-Gauss cross-entropy",
        fql.Config(critic=CategoricalCriticConfig(), **_START),
        _ADVICE,
    ),
    "rebrac": Method(
        "TD3 held to the data in policy and critic",
        rebrac.Config(),
        "tune bc_coefficient and critic_bc_coefficient, each in .003, .01, .03, .1",
        f"{_PAPER}, its ReBRAC baseline",
        {
            "humanoidmaze-medium-navigate-v0": rebrac.Config(
                discount=0.995, bc_coefficient=0.01, critic_bc_coefficient=0.01
            )
        },
    ),
    "iql": Method(
        "implicit Q-learning with advantage-weighted regression",
        iql.Config(),
        "tune inverse_temperature in .3, 1, 3, 10",
        f"{_PAPER}, its IQL baseline",
        discounted_by_domain(iql.Config()),
    ),
    "ifql": Method(
        "implicit Q-learning that acts by the best of a behaviour flow's actions",
        ifql.Config(),
        "tune candidates in 8, 32, 128",
        f"{_PAPER}, its IFQL baseline",
        discounted_by_domain(ifql.Config()),
    ),
    "iql-flow": Method(
        "IQL with a flow critic for Q: no policy in the target",
        iql.Config(critic=FlowCriticConfig()),
        "tune inverse_temperature in .3, 1, 3, 10 and expectile in .7, .9",
    ),
    "ifql-flow": Method(
        "IFQL with a flow critic for Q: no policy in the target, best of N by the flow",
        ifql.Config(critic=FlowCriticConfig()),
        "tune candidates in 8, 32, 128 and expectile in .7, .9",
    ),
    "idql": Method(
        "IFQL with a diffusion in the place of the flow (arXiv 2304.10573)",
        ifql.Config(policy=FlowPolicyConfig(path="variance_preserving")),
        "tune candidates in 8, 32, 128",
    ),
    "bc": Method(
        "behaviour cloning by flow matching",
        bc.Config(),
        _UNTUNED,
    ),
    "bc-gaussian": Method(
        "behaviour cloning by a Gaussian's likelihood",
        bc.Config(policy=GaussianPolicyConfig()),
        _UNTUNED,
    ),
}
"""Every method with presets, by the name that `--algorithm` takes."""


def _varied(method: Method, summary: str, source: str, **changes: Any) -> Method:
    """A method with the same settings for each task, but for some that another paper adds."""
    return Method(
        summary,
        dataclasses.replace(method.start, **changes),
        "tune candidates and target_candidates in 4, 8, 32",
        f"{method.source}, with {source}",
        {name: dataclasses.replace(config, **changes) for name, config in method.configs.items()},
    )


for _name, _critic in {"floq": "the flow critic", "fql": "a plain critic"}.items():
    METHODS |= {
        f"{_name}-bfn": _varied(
            METHODS[_name],
            f"best of 4 of the behaviour flow's actions, in targets and acting, by {_critic}",
            "best of N as in arXiv 2507.07969 (BFN)",
            candidates=4,
            target_candidates=4,
        ),
        f"{_name}-qc": _varied(
            METHODS[_name],
            f"chunks of 5 actions, best of 32 of them in targets and acting, by {_critic}",
            "chunks and best of N as in arXiv 2507.07969 (QC)",
            action_chunk=5,
            candidates=32,
            target_candidates=32,
        ),
        f"{_name}-nstep": _varied(
            METHODS[_name],
            f"targets of 5 steps, best of 4 of the behaviour flow's actions, by {_critic}",
            "n-step targets and best of N as in arXiv 2507.07969 (BFN-n)",
            n_step=5,
            candidates=4,
            target_candidates=4,
        ),
    }


def preset(algorithm: str, task: str | None = None) -> Any:
    """The settings of a method for a task.

    Args:
        algorithm: The method's name, such as `floq` or `fql-iqn`: a key of `METHODS`.
        task: A task or a dataset, such as `cube-double-play-singletask-v0`; None for
            data of your own.

    Returns:
        The published settings if there are any; otherwise the advised starting point.

    Raises:
        ValueError: If there is no such method.
    """
    return find_preset(algorithm, task).config


def register_preset(
    name: str, config: Any, *, summary: str = "", datasets: Mapping[str, Any] | None = None
) -> None:
    """Makes settings of your own known, in this process, by a name of their own.

    `floq.preset`, `--algorithm NAME` and sweeps then take it as they take the library's methods:
    so the command line trains FQL with a critic of your own (with `--plugin MODULE`, the module
    that calls this).

    Args:
        name: What the method is called.
        config: Its settings, of any algorithm.
        summary: What it is, in a line.
        datasets: Other settings for some datasets, by their exact names, whose tasks share them.

    Raises:
        TypeError: If settings belong to no algorithm.
        ValueError: If the name is another method's or algorithm's.
    """
    for settings in (config, *(datasets or {}).values()):
        algorithm_of(settings)
    method = Method(summary, config, advice=_OWN, source=_OWN, configs=dict(datasets or {}))
    known = METHODS.get(name, method)
    if known.source != _OWN or (name in algorithm_names() and algorithm_of(config)[0] != name):
        raise ValueError(
            f"preset {name!r} clashes with what is called so already: give it a name of its own."
        )
    METHODS[name] = method


def find_preset(algorithm: str, task: str | None) -> Preset:
    """The settings of `preset`, with their source."""
    method = METHODS.get(given(str, algorithm, name="the name of the algorithm"))
    if method is None:
        return _unpublished(algorithm)
    published = None if task is None else method.configs.get(dataset_name(task))
    if published is not None:
        return Preset(published, method.source, published=True)
    if method.source == _OWN:
        return Preset(method.start, f"{algorithm}, {_OWN}", published=False)
    subject = task or "data of your own"
    source = f"no published settings for {subject}: a starting point for new tasks; {method.advice}"
    return Preset(method.start, source, published=False)


def _unpublished(algorithm: str) -> Preset:
    """The defaults of an algorithm that has no presets, such as one of the user's own."""
    if algorithm not in algorithm_names():
        raise ValueError(
            f"No algorithm is called {algorithm!r}: "
            f"{nearest(algorithm, dict.fromkeys([*METHODS, *algorithm_names()]))} One of your own "
            "is made known by --plugin MODULE, or in Python by floq.register_algorithm."
        )
    try:
        config = find_algorithm(algorithm).Config()
    except TypeError as error:
        raise ValueError(
            f"{algorithm} has settings without a default: {error}. Name some by "
            "floq.register_preset."
        ) from error
    return Preset(config, f"the defaults of {algorithm}", published=False)
