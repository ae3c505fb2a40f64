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
from floq.networks.ensemble import Aggregation, aggregate, create_members, map_members
from floq.networks.mlp import MLP, NetworkConfig, is_head

__all__ = [
    "MLP",
    "Aggregation",
    "NetworkConfig",
    "TimeEmbedding",
    "ValueEmbedding",
    "ValueSupport",
    "aggregate",
    "create_members",
    "embed_time",
    "embed_value",
    "is_head",
    "map_members",
    "time_embedding_size",
    "value_embedding_size",
]
