"""A client of the policy server: what it refuses to send, and what it is told."""

import numpy as np
import pytest
from test_server import STATES, url

from floq.client import PolicyClient


def test_a_client_is_told_what_to_give(server):
    """Of a token that is not the server's, or no line, which is not repeated; of a wrong place."""
    with pytest.raises(RuntimeError, match="does not take this token"):
        PolicyClient(url(server), "x" * 20)
    with pytest.raises(ValueError, match="the token is no line of text") as refused:
        PolicyClient(url(server), f"{server.token}\n")
    assert server.token not in str(refused.value)
    with pytest.raises(OSError, match=r"ws://127.0.0.1:1: .*is the server there"):
        PolicyClient("ws://127.0.0.1:1", server.token)
    http = url(server).replace("ws", "http")
    for wrong in (http, "127.0.0.1:8000", "ws://", "ws://:80", "ws://a:70000", "ws://a:b"):
        with pytest.raises(ValueError, match=f"url is '{wrong}': give what `floq serve` prints"):
            PolicyClient(wrong, server.token)


@pytest.mark.parametrize(
    ("observation", "said"),
    [
        ("text", "the observation is no array of numbers, nor a dictionary: 'text'"),
        (None, "the observation is no array of numbers"),
        ([[0.0], [0.0, 1.0]], "the observation is no array of numbers"),
        (np.zeros(2, complex), "the observation is no array of numbers"),
        ({"arm": {"place": "text"}}, r"the observation\['arm'\]\['place'\] is no array of numbers"),
        (np.zeros(2**18), "has 2,097,2.. bytes, more than the server reads: give one observation"),
    ],
)
def test_what_cannot_be_an_observation_is_not_sent(server, observation, said):
    """It is named by the client, and the session goes on."""
    with PolicyClient(url(server), server.token) as client:
        with pytest.raises(ValueError, match=said):
            client.act(observation)
        client.act(STATES[0])


def test_a_session_that_is_over_is_told(server):
    """By a refusal, by the client, and by an answer that came too late and is nobody's."""
    over = "the session is over, by .*: connect again"
    client = PolicyClient(url(server), server.token)
    with pytest.raises(RuntimeError, match=r"refuses, and ends the session: .*shape"):
        client.act(np.zeros(3))
    with pytest.raises(ConnectionError, match=over):
        client.act(STATES[0])
    client = PolicyClient(url(server), server.token)
    client.close()
    with pytest.raises(ConnectionError, match=over):
        client.reset()
    with PolicyClient(url(server), server.token) as client:
        client._timeout = 0.0
        for _ in range(2):
            with pytest.raises(ConnectionError, match=over):
                client.act(STATES[0])
            client._timeout = 30.0


def test_the_client_passes_on_what_the_server_says(server):
    """As an error that names it."""
    with (
        PolicyClient(url(server), server.token) as client,
        pytest.raises(RuntimeError, match="shape"),
    ):
        client.act(np.zeros(3))
