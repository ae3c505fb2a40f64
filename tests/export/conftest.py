"""What tests of exported policies share."""

import jaxtyping
import pytest


@pytest.fixture
def shapes_unchecked():
    """Shapes as types do not know symbolic sizes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
