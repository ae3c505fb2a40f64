"""Datasets: where their files lie, how they are read, checked, fetched and generated.

`floq.data.dataset` holds the dataset that algorithms learn from; it alone of these modules needs
jax.
"""
