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
from floq.networks.ensemble import create_members, map_members
from floq.networks.mlp import MLP, NetworkConfig

__all__ = [
    "MLP",
    "NetworkConfig",
    "TimeEmbedding",
    "ValueEmbedding",
    "ValueSupport",
    "create_members",
    "embed_time",
    "embed_value",
    "map_members",
    "time_embedding_size",
    "value_embedding_size",
]
