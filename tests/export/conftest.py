"""What tests of exported policies share."""

import jaxtyping
import pytest

from floq.export import load_policy
from floq.export.server import serving


@pytest.fixture
def shapes_unchecked():
    """Shapes as types do not know symbolic sizes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """The finished run, which plans two actions at once, as numpy's program."""
    return finished.export(tmp_path_factory.mktemp("served") / "numpy", format="numpy")


@pytest.fixture(scope="module")
def server(folder):
    with serving(load_policy(folder)) as served:
        yield served
