"""Studies on the value ground: the value benchmark, where the truth is known."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from floq.critics import FlowCriticConfig
from floq.networks import NetworkConfig
from floq.settings import to_json
from floq.studies.study import SMALL_BINS, Base, Size, Study, Variant
from floq.studies.value_benchmark import benchmark
from floq.studies.value_problems import Waves
from floq.studies.value_program import Training


def _base(size: Size) -> Base:
    width, depth, samples = (64, 2, 4) if size == "small" else (256, 3, 8)
    flow = FlowCriticConfig(
        integration_steps=4,
        noise_samples=samples,
        members=1,
        network=NetworkConfig((width,) * depth, layer_norm=True),
    )
    if size == "small":
        return Base(flow, bins=SMALL_BINS)
    training = Training(updates=30_000, learning_rate=1e-3, batch_size=256, points=10)
    return Base(flow, training, Waves(roughness=4, side=24, transitions=131_072))


class ValueGround:
    """Where a critic's values are compared with the truth: an error, so less is better."""

    figure = "error"
    default_seeds: tuple[int, ...] = tuple(range(10))
    """As many as make intervals narrow enough to tell variants apart."""
    processes = 1
    """Seeds share the cores already."""

    def __init__(self, size: Size, *, updates: int | None = None):
        """Prepares the ground.

        Args:
            size: Small, for minutes on two cores, or full, for an accelerator.
            updates: Updates of every variant, if not those of the size.
        """
        self._base = base = _base(size)
        if updates is not None:
            training = dataclasses.replace(base.training, updates=updates)
            self._base = dataclasses.replace(base, training=training)

    def check(self) -> None:
        """Nothing: it makes its own data."""

    def variants(self, study: Study) -> list[Variant]:
        """The study's variants."""
        return study.variants(self._base)

    def updates(self, variant: Variant) -> int:
        """Updates of each seed."""
        return variant.training.updates

    def settings(self, variant: Variant) -> Any:
        """Everything that determines a variant's figures, as JSON."""
        return {
            "critic": {"kind": type(variant.critic).__name__, **to_json(variant.critic)},
            "problem": {"kind": type(variant.problem).__name__, **to_json(variant.problem)},
            "training": to_json(variant.training),
            "readings": [reading.name for reading in variant.readings],
            "probes": [probe.name for probe in variant.probes],
        }

    def run(
        self, variant: Variant, seeds: Sequence[int], directory: Path
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each seed with what it came to, as soon as it is done."""
        results = benchmark(
            variant.critic.create,
            problem=variant.problem,
            training=variant.training,
            seeds=seeds,
            readings={reading.name: reading for reading in variant.readings},
            probes={probe.name: probe for probe in variant.probes},
        )
        for seed, result in results:
            figures = result._asdict()
            yield (
                seed,
                {
                    "steps": variant.training.steps,
                    "figures": figures.pop("errors"),
                    **figures,
                },
            )
