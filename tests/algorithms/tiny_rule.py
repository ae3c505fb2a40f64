"""The least that an algorithm must have, for the tests of the registry; nothing registers it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    batch_size: int = 4
    discount: float = 0.9
    action_chunk: int = 1
    n_step: int = 1


def init(config, statistics, *, key):
    raise NotImplementedError


def update(config, state, batch, *, key):
    raise NotImplementedError


def act(config, state, observations, *, keys):
    raise NotImplementedError
