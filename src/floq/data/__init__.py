"""Datasets: where their files lie, how they are read, checked, fetched and generated.

`floq.data.dataset` holds the dataset that algorithms learn from; it alone of these modules needs
jax.
"""

from floq.data.paths import data_directory, dataset_files, dataset_name

__all__ = ["data_directory", "dataset_files", "dataset_name"]
