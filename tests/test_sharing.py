"""A run goes to the Hub and comes back the same, and what cannot go says why at once."""

import os
import subprocess
import sys
import threading

import jax
import numpy as np
import pytest

import floq
from tests.hub import Hub

pytestmark = pytest.mark.extras

NAME = "me/floq-maze"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub of one's own, which huggingface_hub asks for the length of a test."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        import huggingface_hub.constants as constants

        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        yield server
        server.shutdown()


def test_a_run_comes_back_as_it_went(finished, hub):
    """State, settings and rows, by its name alone; the card says what it is worth."""
    from floq.sharing import push

    assert push(finished.directory, NAME) == f"{hub.address}/{NAME}"
    shared = hub.files[NAME]
    newest = "checkpoints/step_000000004"
    assert {f"{newest}/state.safetensors", f"{newest}/manifest.json", "config.json"} <= {*shared}
    assert "checkpoints/step_000000002/state.safetensors" not in shared
    assert "Bearer hf_mine" in hub.tokens
    card = shared["README.md"].decode()
    assert "library_name: floq" in card
    assert f'floq.load_run("hf:{NAME}")' in card
    assert "| config.critic.integration_steps | 3 |" in card
    assert "95 % interval" in card
    assert card.count("\n![") == len([name for name in shared if name.endswith((".png", ".webp"))])
    run = floq.load_run(f"hf:{NAME}")
    assert run.config == finished.config
    assert run.evaluations == finished.evaluations
    jax.tree.map(np.testing.assert_array_equal, run.state, finished.state)


def test_nothing_else_of_a_repository_is_fetched(finished, hub):
    """Files with other names, also those that lead out of the folder, are never asked for."""
    from floq.sharing import push

    push(finished.directory, NAME)
    hub.files[NAME] |= {
        "evil.py": b"1",
        "../../escaped.json": b"{}",
        "checkpoints/x/state.json": b"",
    }
    hub.asked.clear()
    floq.load_run(f"hf:{NAME}")
    asked = " ".join(hub.asked)
    assert "evil" not in asked
    assert "escaped" not in asked
    assert "checkpoints/x" not in asked
    assert "README" not in asked


def test_a_flipped_bit_on_the_way_is_found(finished, hub):
    """The checkpoint's own sums say so; the Hub's would not."""
    from floq.sharing import push

    push(finished.directory, NAME)
    name = "checkpoints/step_000000004/state.safetensors"
    content = bytearray(hub.files[NAME][name])
    content[-5] ^= 1
    hub.files[NAME][name] = bytes(content)
    with (
        pytest.warns(RuntimeWarning, match="Damaged"),
        pytest.raises(RuntimeError, match="damaged"),
    ):
        floq.load_run(f"hf:{NAME}")


def test_what_is_not_there_is_named(hub, tmp_path):
    """No such repository, one without a run, no name, no run to share."""
    from floq.sharing import push

    with pytest.raises(ConnectionError, match="refuses me/nothing"):
        floq.load_run("hf:me/nothing")
    hub.files["me/empty"] = {"README.md": b""}
    with pytest.raises(FileNotFoundError, match="holds no run"):
        floq.load_run("hf:me/empty")
    for name in ("nothing", "../me/it", "me/.."):
        with pytest.raises(ValueError, match="is no name on the Hub"):
            push(tmp_path, name)
    with pytest.raises(FileNotFoundError, match="neither a run"):
        push(tmp_path, NAME)


def test_offline_means_the_same_of_taking_and_sharing():
    """The way out is that of both: there may be no folder to give instead."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    from floq.runs.hub import hub_errors

    with pytest.raises(ConnectionError, match=r"not to ask it: unset that\.$"), hub_errors(NAME):
        raise OfflineModeIsEnabled


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE says not to ask it"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_offline_fails_at_once(settings, said, tmp_path):
    """In a sentence, not after minutes of trying."""
    code = "import floq, time, huggingface_hub, floq.runs.run\nstart = time.time()\n"
    code += "try: floq.load_run('hf:a/b')\nexcept ConnectionError as error: print(error)\n"
    code += "print(time.time() - start)"
    own = os.environ | {"HF_HOME": str(tmp_path)} | settings
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=own, check=True
    )
    sentence, seconds = done.stdout.strip().splitlines()
    assert said in sentence
    assert float(seconds) < 10
