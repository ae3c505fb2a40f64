"""What a study is: a question, and named variants of critics that answer it."""

import dataclasses
from collections.abc import Callable
from typing import Literal

from floq.critics import CriticConfig, FlowCriticConfig, ScalarCriticConfig
from floq.networks import NetworkConfig
from floq.studies.distilled import monolith
from floq.studies.readings import FeatureNorm, ReadAtSteps, ReadStale, ReadValues, Spread
from floq.studies.value_problems import Maze, Waves
from floq.studies.value_program import Training

Size = Literal["small", "full"]
GroundName = Literal["value", "control"]
FLOPS = "floating-point operations of an update"
"""The axis on which a variant's place is what it costs."""

SMALL_BINS = 11
"""Bins of a categorical critic in a small network, which hardly tells the published 101 apart."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to do it.

    Attributes:
        name: What tables call it; unique in its study.
        critic: The critic, or floq's two critics.
        training: How it learns; of it, the control ground reads what says something of targets
            and of frozen features, and takes its own rates and sizes.
        problem: What it learns (read on the value ground alone).
        readings: How its values are read; each is a row of the table (on the value ground alone).
        probes: Other numbers to follow (on the value ground alone).
        panel: The panel of the figure that it is in, by the label of its axis.
        line: The line of the figure that joins it with others.
        place: Its place on the axis, if its readings have none of their own and the axis is not
            `FLOPS`; without any, it is named in place of a number.
    """

    name: str
    critic: CriticConfig
    training: Training
    problem: Waves | Maze
    readings: tuple[ReadValues | ReadAtSteps | ReadStale, ...] = (ReadValues(),)
    probes: tuple[FeatureNorm | Spread, ...] = ()
    panel: str = ""
    line: str = ""
    place: int | float | None = None


@dataclasses.dataclass(frozen=True)
class Base:
    """What all variants of a study share unless they say otherwise.

    Attributes:
        flow: The flow critic.
        training: How critics learn.
        problem: What they learn.
        steps: Integration steps of flows at which critics are compared.
        blocks: Residual blocks at which monoliths are compared with them.
        multiples: Multiples of its own compute at which a wider monolith is compared with them.
        ensembles: Multiples of its own members at which the monolith is compared with them.
        levels: Levels of a quantile critic; as many as the flow has noise samples by default.
        bins: Bins of a categorical critic.
        n_steps: Decisions that targets look ahead, beside the one of `training`.
        action_chunks: Steps of a decision, beside those of `training`.
        target_noises: Standard deviations of noise on targets, in units of return.
        brief: Whether to leave out what lies between other variants, where each takes minutes.
    """

    flow: FlowCriticConfig
    training: Training = Training()
    problem: Waves | Maze = Waves()
    steps: tuple[int, ...] = (1, 2, 4, 8)
    blocks: tuple[int, ...] = (1, 2, 4, 8)
    multiples: tuple[int, ...] = (2, 4, 8)
    ensembles: tuple[int, ...] = (2, 4, 8)
    levels: int | None = None
    bins: int = 101
    n_steps: tuple[int, ...] = (2, 4)
    action_chunks: tuple[int, ...] = (2, 3)
    target_noises: tuple[float, ...] = (1.0, 2.0, 4.0)
    brief: bool = False

    @property
    def scalar(self) -> ScalarCriticConfig:
        """The monolith with the flow's network and members."""
        return monolith(self.flow)

    def variant(
        self,
        name: str,
        critic: CriticConfig | None = None,
        **changes: object,
    ) -> Variant:
        """A variant of the base: with another critic, or other fields of `Variant`."""
        variant = Variant(name, critic or self.flow, self.training, self.problem)
        return dataclasses.replace(variant, **changes)  # pyright: ignore[reportArgumentType]

    def wider(self, compute: int | float) -> NetworkConfig:
        """The network so much wider that a layer costs about `compute` times as much."""
        sizes = self.flow.network.hidden_sizes
        wider = tuple(round(size * compute**0.5) for size in sizes)
        return dataclasses.replace(self.flow.network, hidden_sizes=wider)

    def residual(self, blocks: int) -> NetworkConfig:
        """The network with its layers repeated in residual blocks."""
        return dataclasses.replace(self.flow.network, residual_blocks=blocks)


@dataclasses.dataclass(frozen=True)
class Study:
    """A question and how it is answered.

    Attributes:
        name: What the command line calls it.
        question: What it answers, in a sentence.
        variants: Makes the variants from what they share.
        reference: The variant that all others are compared with, seed by seed.
    """

    name: str
    question: str
    variants: Callable[[Base], list[Variant]]
    reference: str
