"""Layers, networks and embeddings with the initialisation of the published runs."""

from floq.networks.embeddings import (
    TimeEmbedding,
    ValueEmbedding,
    ValueSupport,
    embed_time,
    embed_value,
    time_embedding_size,
    value_embedding_size,
)
from floq.networks.encoder import (
    Encoded,
    Encoder,
    augment,
    create_encoder,
    encode,
    observation_network,
    past_encoder,
)
from floq.networks.ensemble import Aggregation, aggregate, create_members, map_members
from floq.networks.mlp import MLP, NetworkConfig, is_head

__all__ = [
    "MLP",
    "Aggregation",
    "Encoded",
    "Encoder",
    "NetworkConfig",
    "TimeEmbedding",
    "ValueEmbedding",
    "ValueSupport",
    "aggregate",
    "augment",
    "create_encoder",
    "create_members",
    "embed_time",
    "embed_value",
    "encode",
    "is_head",
    "map_members",
    "observation_network",
    "past_encoder",
    "time_embedding_size",
    "value_embedding_size",
]
