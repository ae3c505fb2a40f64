"""The client's codec: what it carries, and what it refuses."""

import subprocess
import sys

import msgpack
import numpy as np
import pytest

from floq.client import pack, unpack


@pytest.mark.parametrize("dtype", ["f4", "<f8", ">f4", "u1", "i8", "?", "f2"])
def test_arrays_come_back_as_they_were(dtype):
    """Values, shape and dtype, of any order of bytes and with no rows."""
    for array in (np.arange(6).reshape(2, 3), np.zeros((0, 4)), np.array(3)):
        sent = {"x": array.astype(dtype), "n": np.dtype(dtype).type(1), "rest": ["a", 1, None]}
        found = unpack(pack(sent))
        assert found["x"].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found["x"], sent["x"])
        assert found["n"] == 1
        assert found["rest"] == ["a", 1, None]


@pytest.mark.parametrize("value", [np.array([object()]), np.array(["a"]), object(), {1}])
def test_nothing_but_numbers_is_sent(value):
    """Objects and texts as arrays, and objects of any kind."""
    with pytest.raises(TypeError, match="cannot be sent"):
        pack({"x": value})


@pytest.mark.parametrize(
    "array",
    [
        {b"dtype": "O", b"data": b"", b"shape": [0]},
        {b"dtype": "V8", b"data": b"12345678", b"shape": [1]},
        {b"dtype": "<f4,<f4", b"data": bytes(8), b"shape": [1]},
        {b"dtype": "<f4", b"data": bytes(8), b"shape": [-1]},
        {b"dtype": "<f4", b"data": bytes(8), b"shape": [3]},
        {b"dtype": "<f4", b"data": "text", b"shape": [1]},
        {b"dtype": "<f4", b"data": bytes(4), b"shape": 1},
        {b"dtype": "<f3", b"data": bytes(3), b"shape": [1]},
        {b"dtype": 1, b"data": b"", b"shape": []},
        {},
    ],
)
def test_arrays_that_lie_are_refused(array):
    """Objects, other shapes than the bytes have, missing parts: a ValueError each."""
    with pytest.raises(ValueError, match="no message"):
        unpack(msgpack.packb({b"__ndarray__": True, **array}))


def test_the_client_needs_little():
    """It is imported without jax, and runs as a file of its own."""
    import floq.client

    script = (
        "import sys, runpy; import floq.client; assert 'jax' not in sys.modules\n"
        "sys.modules['floq'] = None; assert runpy.run_path(sys.argv[1])['PolicyClient']"
    )
    subprocess.run([sys.executable, "-c", script, floq.client.__file__], check=True, timeout=60)
