"""The studies: each a question, and the variants that answer it.

A new one is a function from `Base` to variants, and an entry in `STUDIES`.
"""

import dataclasses
from typing import Any

from floq.critics import (
    CategoricalCriticConfig,
    CriticConfig,
    FlowCriticConfig,
    QuantileCriticConfig,
    ScalarCriticConfig,
)
from floq.studies.distilled import DistilledCriticConfig
from floq.studies.readings import FeatureNorm, ReadAtSteps, ReadStale, ReadValues, Spread
from floq.studies.study import FLOPS, Base, Study, Variant

_STEPS = (1, 2, 4, 8, 16)


def _flow(base: Base, **changes: Any) -> FlowCriticConfig:
    return dataclasses.replace(base.flow, **changes)


def _integration_steps(base: Base) -> list[Variant]:
    return [
        base.variant(
            f"K={steps}",
            _flow(base, integration_steps=steps),
            # Its own K first: that is what the table compares.
            readings=tuple(map(ReadAtSteps, sorted(_STEPS, key=lambda other: other != steps))),
            panel="integration steps K at which values are read",
            line=f"trained with K={steps}",
            place=steps,
        )
        for steps in _STEPS
    ]


def _critics(base: Base) -> list[Variant]:
    scalar = base.scalar
    shared = {
        "members": scalar.members,
        "aggregation": scalar.aggregation,
        "pessimism": scalar.pessimism,
    }

    def dense(**changes: Any) -> ScalarCriticConfig:
        return dataclasses.replace(scalar, **changes)

    lines: dict[str, dict[str, CriticConfig]] = {
        "flow, larger K": {
            f"flow, K={steps}": _flow(base, integration_steps=steps) for steps in base.steps
        },
        "dense, wider": {
            f"dense ×{times}": dense(network=base.wider(times)) for times in (1, *base.multiples)
        },
        "ensemble": {
            f"dense, {times} × members": dense(members=times * scalar.members)
            for times in base.ensembles
        },
        "residual, deeper": {
            f"residual, blocks={blocks}": dense(network=base.residual(blocks))
            for blocks in base.blocks
        },
        "quantile (IQN)": {
            "quantile": QuantileCriticConfig(
                quantile_samples=base.levels or base.flow.noise_samples,
                network=scalar.network,
                **shared,
            )
        },
        "categorical (HL-Gauss)": {
            "categorical": CategoricalCriticConfig(
                histogram_points=base.bins + 1, network=scalar.network, **shared
            )
        },
    }
    return [
        base.variant(name, critic, panel=FLOPS, line=line)
        for line, variants in lines.items()
        for name, critic in variants.items()
    ]


def _noise_width(base: Base) -> list[Variant]:
    return [
        base.variant(
            f"κ={width:g}",
            _flow(base, noise_coverage=width),
            panel="width κ of the noise interval, as a share of the range of returns",
            line=f"flow, K={base.flow.integration_steps}",
            place=width,
        )
        for width in (0.01, 0.03, 0.1, 0.25, 0.5, 1.0)
    ]


def _embeddings(base: Base) -> list[Variant]:
    return [
        base.variant(
            f"z {value}, t {time}",
            _flow(base, value_embedding=value, time_embedding=time),
            line=f"z {value}",
        )
        for value in ("histogram", "scalar")
        for time in ("cosine", "fourier", "identity")
    ]


def _targets(base: Base) -> list[Variant]:
    # On the value ground data and policy then both act at random, so that looking several steps
    # ahead has no bias.
    problem = dataclasses.replace(base.problem, policy_noise=1.0)
    base = dataclasses.replace(base, problem=problem)
    distributional = {"backup": "distributional"}
    shared = {**distributional, "coupling": "shared"}
    flows = {
        "expected": {},
        "distributional": distributional,
        "shared noise": shared,
        "shared noise, control variate .5": {**shared, "control_variate": 0.5},
        "shared noise, control variate 1": {**shared, "control_variate": 1.0},
    }
    if base.brief:
        flows = {name: change for name, change in flows.items() if "variate" not in name}
    longer = {
        "1 step": {},
        **{f"{n_step}-step": {"n_step": n_step} for n_step in base.n_steps},
        **{f"chunks of {chunk}": {"action_chunk": chunk} for chunk in base.action_chunks},
    }
    variants = [
        base.variant(f"flow, {name}", _flow(base, **change), line="flow")
        for name, change in flows.items()
    ]
    for line, critic in (("flow", base.flow), ("dense", base.scalar)):
        for name, change in longer.items():
            training = dataclasses.replace(base.training, **change)
            # A flow with a target of one step is the first variant.
            left_out = not change if line == "flow" else base.brief and "action_chunk" in change
            if not left_out:
                variants.append(
                    base.variant(f"{line}, {name}", critic, training=training, line=line)
                )
    return variants


def _contenders(base: Base) -> dict[str, CriticConfig]:
    """The flow, a flow without a velocity to predict, and a monolith."""
    end_point = _flow(base, prediction="endpoint")
    return {"flow": base.flow, "flow, end point": end_point, "dense": base.scalar}


def _recovery(base: Base) -> list[Variant]:
    training = dataclasses.replace(base.training, stale_at=1 / base.training.points)
    stale = [
        base.variant(
            name,
            critic,
            training=training,
            readings=(ReadValues(place=0.0), *map(ReadStale, (0.25, 0.5, 0.75))),
            panel="stale share of the integration (dense: of the value)",
            line=name,
        )
        for name, critic in _contenders(base).items()
    ]
    noisy = [
        base.variant(
            f"{name}, noise {noise:g}",
            critic,
            training=dataclasses.replace(base.training, target_noise=noise),
            panel="standard deviation of noise on the targets",
            line=name,
            place=noise,
        )
        for name, critic in _contenders(base).items()
        for noise in (0.0, *base.target_noises)
    ]
    return stale + noisy


def _plasticity(base: Base) -> list[Variant]:
    return [
        base.variant(
            name if share == 1 else f"{name}, frozen at {share:g}",
            critic,
            training=dataclasses.replace(base.training, freeze_at=share),
            probes=(FeatureNorm(),),
            panel="share of training after which only the last layer learns",
            line=name,
            place=share,
        )
        for name, critic in _contenders(base).items()
        for share in (0.25, 0.5, 1.0)
    ]


def _update_ratio(base: Base) -> list[Variant]:
    critics = {"flow": base.flow, "dense": base.scalar}
    transitions = 1024
    reused = [
        base.variant(
            f"{name}, {again} on each target",
            critic,
            training=dataclasses.replace(base.training, updates_per_target=again),
            panel="updates on each batch and its targets, of the same number of updates",
            line=name,
            place=again,
        )
        for name, critic in critics.items()
        for again in (1, 2, 4)
    ]
    arriving = [
        base.variant(
            f"{name}, {ratio:g} for each transition",
            critic,
            training=dataclasses.replace(
                base.training, stream=True, points=4, updates=round(ratio * transitions)
            ),
            problem=dataclasses.replace(base.problem, transitions=transitions),
            panel=f"updates for each of {transitions:,} transitions, which arrive meanwhile",
            line=name,
            place=ratio,
        )
        for name, critic in critics.items()
        for ratio in (0.5, 1.0, 2.0, 4.0)
    ]
    return reused + arriving


def _less_work(base: Base) -> list[Variant]:
    flow = base.flow
    network = dataclasses.replace(flow.network, precision="bfloat16")
    rounded = _flow(base, network=network)
    lines: dict[str, dict[str, DistilledCriticConfig]] = {
        "the whole flow": {"as published": DistilledCriticConfig(flow)},
        "less to distil": {
            "1 step": DistilledCriticConfig(flow, steps=1),
            "2 samples": DistilledCriticConfig(flow, samples=2),
            "2 samples, 1 step": DistilledCriticConfig(flow, samples=2, steps=1),
            "1 sample, 1 step": DistilledCriticConfig(flow, samples=1, steps=1),
        },
        "fewer bits": {"bfloat16": DistilledCriticConfig(rounded)},
        "both": {"fast": DistilledCriticConfig(rounded, samples=2, steps=1)},
    }
    variants = [
        base.variant(name, critic, line=line)
        for line, critics in lines.items()
        for name, critic in critics.items()
    ]
    coarse = [
        base.variant(
            f"K=1 in the first {share:.0%}",
            DistilledCriticConfig(flow),
            training=dataclasses.replace(base.training, coarse_until=share),
            line="coarse targets early",
        )
        for share in (0.25, 0.5, 0.75)
    ]
    kept = ("as published", "2 samples, 1 step", "bfloat16", "fast", "K=1 in the first 50%")
    return [variant for variant in variants + coarse if not base.brief or variant.name in kept]


def _strata(base: Base) -> list[Variant]:
    embeddings: dict[str, dict[str, Any]] = {
        "histogram": {},
        "z itself": {"value_embedding": "scalar", "time_embedding": "identity"},
    }
    panels: dict[str, tuple[str, str, tuple[int | float, ...]]] = {
        "κ": ("noise_coverage", "width κ of the noise interval", (0.03, 0.1, 0.25, 0.5, 1.0)),
        "m": ("noise_samples", "noise samples m", (2, 8, 16)),
        "K": ("integration_steps", "integration steps K", (1, 16)),
    }
    if base.brief:
        panels = {"κ": (*panels["κ"][:2], (0.1, 0.5))}
    flows = [
        base.variant(
            f"{line}, {sign}={value:g}",
            _flow(base, **{field: value, "sampling": sampling}, **embedding),
            probes=(Spread(),),
            panel=panel,
            line=line,
            place=value,
        )
        for sign, (field, panel, values) in panels.items()
        for name, embedding in embeddings.items()
        for sampling in ("independent", "strata")
        for line in (f"{name}, {sampling}",)
        for value in values
    ]
    return [*flows, *(() if base.brief else (base.variant("dense", base.scalar, line="dense"),))]


def _times(base: Base) -> list[Variant]:
    powers = {1: (1.0, 2.0, 4.0, 8.0), 4: (1.0, 2.0, 4.0, 8.0), 16: (1.0, 4.0)}
    if base.brief:
        powers = {1: (1.0, 4.0), 4: (1.0, 4.0)}
    flows = [
        base.variant(
            f"K={steps}, p={power:g}",
            _flow(base, integration_steps=steps, time_power=power),
            probes=(Spread(),),
            panel="power p of the times",
            line=f"K={steps}",
            place=power,
        )
        for steps, some in powers.items()
        for power in some
    ]
    start = _flow(base, integration_steps=1, supervision="start")
    others = [
        base.variant("K=1, t = 0 alone", start, probes=(Spread(),), line="t = 0 alone"),
        base.variant("dense", base.scalar, line="dense"),
    ]
    return flows + others


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            "integration-steps",
            "Do more integration steps K make values better, and can a critic be read at another K "
            "than it was trained with?",
            _integration_steps,
            reference="K=1",
        ),
        Study(
            "critics",
            "At the same compute, is a flow better than a wider, deeper or larger ensemble of "
            "ordinary critics, or than a distributional one?",
            _critics,
            reference="dense ×1",
        ),
        Study(
            "noise-width",
            "How wide should the noise be from which the flow starts?",
            _noise_width,
            reference="κ=0.1",
        ),
        Study(
            "embeddings",
            "How should the value z and the time t enter the network?",
            _embeddings,
            reference="z histogram, t cosine",
        ),
        Study(
            "targets",
            "Which targets suit a flow: expected or distributional, with shared noise, several "
            "steps ahead, or over chunks of actions?",
            _targets,
            reference="flow, expected",
        ),
        Study(
            "recovery",
            "Does a flow recover from wrong early steps and from noisy targets, where a monolith "
            "does not?",
            _recovery,
            reference="flow",
        ),
        Study(
            "plasticity",
            "Does a flow keep learning when its features are frozen, and do feature norms grow?",
            _plasticity,
            reference="flow",
        ),
        Study(
            "update-ratio",
            "What do more updates for each transition do, and several updates on the same targets?",
            _update_ratio,
            reference="flow, 1 on each target",
        ),
        Study(
            "less-work",
            "What of an update can be left out at no cost in learning: samples and steps of the "
            "flow that is distilled, or bits of the factors of matrix products?",
            _less_work,
            reference="as published",
        ),
        Study(
            "strata",
            "What do starts and times from strata do, and when does a flow use the start z that "
            "it is given?",
            _strata,
            reference="histogram, independent, κ=0.1",
        ),
        Study(
            "times",
            "At which times should a flow be supervised: evenly, or more often early, where the "
            "point on the path says little of the target?",
            _times,
            reference="K=4, p=1",
        ),
    )
}
"""The studies by name."""
