"""The policy server: what it answers, whom it refuses, and how it ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from floq.cli import main
from floq.client import PolicyClient, pack, unpack
from floq.commands.serve import Serve
from floq.export import load_policy
from floq.export.server import PolicyServer, serving

STATES = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)


def url(server):
    return f"ws://{server.address[0]}:{server.address[1]}"


def raw(server):
    headers = {"Authorization": f"Api-Key {server.token}"}
    return connect(url(server), additional_headers=headers, compression=None, proxy=None)


def test_a_session_acts_as_the_policy_itself(server, folder):
    """Step by step, through chunks and episodes, and from another seed."""
    local = load_policy(folder)
    with PolicyClient(url(server), server.token) as client:
        assert client.metadata["chunk"] == 2
        assert client.metadata["observation_dim"] == 2
        for _ in range(2):
            for state in STATES[:5]:
                np.testing.assert_allclose(client.act(state), local.act(state), atol=1e-6)
            client.reset(), local.reset()
        client.reset(seed=7)
        local = load_policy(folder, seed=7)
        np.testing.assert_allclose(client.act(STATES[0]), local.act(STATES[0]), atol=1e-6)


def test_whole_plans_are_those_of_the_chunks(server, folder):
    """What OpenPI's clients ask for: every answer is the next actions, one row each."""
    local = load_policy(folder)
    with PolicyClient(url(server), server.token) as client:
        for state in STATES[:3]:
            answer = client.infer({"observation/state": state, "prompt": "go"})
            assert set(answer) == {"actions", "server_timing"}
            wanted = [local.act(state), local.act(state)]
            np.testing.assert_allclose(answer["actions"], wanted, atol=1e-6)


def test_many_sessions_are_answered_each_its_own(server, folder):
    """Whoever asks at the same time shares a call, and nothing else."""
    wrong = []

    def drive(number):
        local = load_policy(folder, seed=number)
        with PolicyClient(url(server), server.token) as client:
            client.reset(seed=number)
            for state in np.random.default_rng(number).normal(size=(40, 2)):
                difference = np.abs(client.act(state) - local.act(state)).max()
                if difference > 1e-6:
                    wrong.append(difference)

    threads = [threading.Thread(target=drive, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_who_waits_at_the_same_time_is_decided_together(folder):
    """Requests that come while the policy is busy become one call."""
    policy, sizes, busy = load_policy(folder), [], threading.Event()
    program = policy.program

    def counted(observations, *noise):
        if serves.is_set():
            sizes.append(len(observations))
            busy.wait(10)
        return program(observations, *noise)

    serves = threading.Event()
    policy.program = counted
    with serving(policy) as server, contextlib.ExitStack() as stack:
        serves.set()
        clients = [stack.enter_context(raw(server)) for _ in range(6)]
        for client in clients:
            client.recv()
            client.send(pack({"observation": STATES[0]}))
        threading.Timer(0.5, busy.set).start()
        answers = [unpack(client.recv())["actions"] for client in clients]
    assert np.ptp(answers, axis=0).max() <= 1e-6
    assert len(sizes) < 6
    assert max(sizes) > 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Api-Key "}, 401),
        ({"Authorization": "Api-Key ü"}, 401),
        ({"Authorization": "Bearer {token}"}, 401),
        ({"Authorization": "Api-Key {token}x"}, 401),
        ({"Authorization": "Api-Key {token}", "Origin": "http://127.0.0.1"}, 403),
    ],
)
def test_strangers_are_refused(server, headers, status):
    """No token, a wrong one, and browsers, whatever they know."""
    given = {name: value.format(token=server.token) for name, value in headers.items()}
    with pytest.raises(InvalidStatus) as refused:
        connect(url(server), additional_headers=given, proxy=None).__enter__()
    assert refused.value.response.status_code == status


def test_a_place_that_is_taken_is_named(server, folder):
    """With the way out, in place of the system's words alone."""
    second = PolicyServer(load_policy(folder), port=server.address[1])
    with pytest.raises(OSError, match=rf"127.0.0.1:{server.address[1]} cannot be .*--port \(0"):
        second.run(listening=lambda: None)


def test_health_needs_no_token(server):
    """A supervisor asks /healthz; other pages are nobody's."""
    address = url(server).replace("ws", "http")
    with urllib.request.urlopen(f"{address}/healthz") as answer:
        assert answer.read() == b"OK\n"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address)
    refused.value.close()
    assert refused.value.code == 401


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ("text", "binary frame"),
        (b"", "no message"),
        (b"\xc1", "no message"),
        (b"\x91" * 5000, "no message"),
        (pack([1]), "dictionary"),
        (pack({}), "observation"),
        (pack({"observation": STATES[0], "state": STATES[0]}), "observation"),
        (pack({"observation": STATES[0], "nonsense": 1}), "nonsense"),
        (pack({"observation": STATES}), "shape"),
        (pack({"observation": [1.0, [2.0]]}), "no array"),
        (pack({"observation": "01"}), "no array"),
        (pack({"observation": [1e300, 0.0]}), "not finite"),
        (pack({"observation": [float("nan"), 0.0]}), "not finite"),
        (pack({"reset": True, "seed": -1}), "seed"),
        (pack({"observation": {b"__ndarray__": True, b"data": b"", b"dtype": "O"}}), "refused"),
        (
            pack({"x": {b"__ndarray__": True, b"data": b"", b"dtype": "<f8", b"shape": [2**40]}}),
            "0 bytes",
        ),
    ],
)
def test_what_is_wrong_is_said_and_ends_the_session(server, frame, said):
    """A text frame says it, then the connection is closed; the server goes on."""
    with raw(server) as client:
        client.recv()
        client.send(frame)
        answer = client.recv()
        assert isinstance(answer, str)
        assert said in answer
        with pytest.raises(ConnectionClosed):
            client.recv()
    with PolicyClient(url(server), server.token) as client:
        client.act(STATES[0])


def test_large_frames_end_the_session(server):
    """More than a mebibyte is not read."""
    with raw(server) as client:
        client.recv()
        with contextlib.suppress(ConnectionClosed):
            client.send(bytes(2**21))
        with pytest.raises(ConnectionClosed):
            client.recv()


def test_sessions_and_their_pace_are_limited(folder):
    """One client too many is told so; who asks too fast waits."""
    with (
        serving(load_policy(folder), sessions=1, rate=10.0) as server,
        PolicyClient(url(server), server.token) as client,
    ):
        with pytest.raises(InvalidStatus) as refused:
            raw(server).__enter__()
        assert refused.value.response.status_code == 503
        with pytest.raises(ConnectionError, match="503: is the server there, with a session free"):
            PolicyClient(url(server), server.token)
        started = time.monotonic()
        for _ in range(15):
            client.act(STATES[0])
        # A second's worth comes at once, the others each after a tenth.
        assert time.monotonic() - started >= 0.3


def test_who_leaves_without_reading_keeps_no_session(folder):
    """Requests whose answers nobody waits for hold neither the session nor the server's end."""
    with serving(load_policy(folder), sessions=1, rate=1e6) as server:
        for _ in range(3):
            with raw(server) as client:
                client.close_timeout = 0.1
                for _ in range(200):
                    client.send(pack({"observation": STATES[0]}))
            left = time.monotonic()
            while True:
                with contextlib.suppress(ConnectionError), PolicyClient(url(server), server.token):
                    break
                time.sleep(0.05)
            assert time.monotonic() - left < 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"port": 70_000}, "port is 70000"),
        ({"sessions": 0}, "sessions is 0"),
        ({"rate": 0.0}, "rate 0"),
        ({"port": "http"}, "port is 'http': it must be of type int"),
        ({"token": "short"}, "the token has fewer than 16"),
        ({"token": f" {'x' * 20}"}, "blanks around it"),
        ({"token": "ü" * 20}, "others than those of ASCII"),
    ],
)
def test_settings_that_no_server_has_are_refused(folder, options, said):
    """By name and value."""
    with pytest.raises(ValueError, match=said):
        PolicyServer(load_policy(folder), **options)


def test_other_machines_are_said_to_be_let_in(folder):
    """Who gives another address is told what that means; loopback says nothing."""
    with pytest.warns(UserWarning, match="not encrypted"):
        PolicyServer(load_policy(folder), host="0.0.0.0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PolicyServer(load_policy(folder), host="::1")


def test_one_bad_observation_spoils_no_other_s_answer(folder):
    """Where the policy gives no finite actions, that client alone is told."""
    policy = load_policy(folder)
    program = policy.program
    policy.program = lambda observations, *noise: np.where(
        observations[:, :1] > 1e6, np.nan, program(observations, *noise)
    )
    with serving(policy) as server, raw(server) as good, raw(server) as bad:
        for client in (good, bad):
            client.recv()
        good.send(pack({"observation": STATES[0]}))
        bad.send(pack({"observation": [1e7, 0.0]}))
        assert unpack(good.recv())["actions"].shape == (2, 2)
        assert "cannot decide" in str(bad.recv())


def _act_for_ever(client):
    while True:
        client.act(STATES[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_asked_to_end(folder, number):
    """It prints where and with which token; a signal ends it with the status 0, clients told."""
    command = [sys.executable, "-m", "floq", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            words = process.stdout.readline().replace(",", "").split()
            with PolicyClient(words[3], words[5]) as client:
                client.act(STATES[0])
                process.send_signal(number)
                with pytest.raises(ConnectionError, match="the session is over"):
                    _act_for_ever(client)
            assert process.wait(20) == 0
            assert "Stopped" in process.stdout.read()
        finally:
            process.kill()


def test_a_token_that_nobody_could_know_is_refused(folder, monkeypatch, capfd):
    """Where standard output is closed, or cannot be written; a bad one of one's own by its name."""
    kept = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        assert main(["serve", str(folder), "--port", "0"]) == 2
    finally:
        os.dup2(kept, 1)
    assert "leads nowhere" in (said := capfd.readouterr().err)
    assert "in the variable FLOQ_TOKEN" in said

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.print", full)
    with pytest.raises(OSError, match=r"cannot be written \(No space .*variable FLOQ_TOKEN"):
        Serve(folder, port=0).run()
    monkeypatch.undo()
    monkeypatch.setenv("FLOQ_TOKEN", "short")
    assert main(["serve", str(folder)]) == 2
    assert "the token in FLOQ_TOKEN has fewer than 16" in capfd.readouterr().err


def test_a_run_is_served_as_its_export(finished, folder, capsys):
    """A run needs no export; what is neither is told, and so is a port that is taken."""
    from floq.export import in_memory

    with (
        serving(in_memory(finished.trained(), seed=3)) as server,
        PolicyClient(url(server), server.token) as client,
    ):
        local = load_policy(folder, seed=3)
        np.testing.assert_allclose(client.act(STATES[0]), local.act(STATES[0]), atol=1e-5)
    assert main(["serve", str(folder), "--policy-seed", "5", "--port", "0"]) == 2
    assert "is an export, which holds one policy: leave out --policy-seed" in (
        capsys.readouterr().err
    )
    assert main(["serve", str(folder.parent)]) == 2
    assert "config.json" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(folder), "--port", port]) == 2
    assert port in capsys.readouterr().err
