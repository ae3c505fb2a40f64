"""`floq serve`: a policy behind a websocket."""

import dataclasses
import os
from pathlib import Path

import tyro

from floq.streams import is_read

_UNKNOWN = (
    "so that nobody would know the random token: give one of your own in the variable FLOQ_TOKEN."
)


@dataclasses.dataclass(frozen=True)
class Serve:
    """Let programs, here or elsewhere, ask a policy for actions: a run's, or an exported one.

    The token that they must show is printed, or is that of the variable FLOQ_TOKEN.

    Attributes:
        directory: The run, or the folder of an exported policy.
        host: The address to listen on; by default only programs of this machine can connect.
        port: The port; 0 takes a free one.
        sessions: Most clients at a time.
        rate: Most requests a second of each client; further ones wait.
        seed: Seed of the policy's noise.
        policy_seed: Which of a run's seeds acts; the first by default.
    """

    directory: tyro.conf.Positional[Path]
    host: str = "127.0.0.1"
    port: int = 8000
    sessions: int = 64
    rate: float = 1000.0
    seed: int = 0
    policy_seed: int | None = None

    def run(self) -> int:
        """Serves until it is asked to end."""
        from floq.extras import require_extra

        require_extra("serve")
        from floq.export import load_policy
        from floq.export.server import PolicyServer, check_token

        token = os.environ.get("FLOQ_TOKEN")
        if token is not None:
            check_token(token, "the token in FLOQ_TOKEN")
        elif not is_read():
            raise ValueError(f"standard output leads nowhere, {_UNKNOWN}")
        if (self.directory / "manifest.json").exists():
            if self.policy_seed is not None:
                raise ValueError(
                    f"{self.directory} is an export, which holds one policy: leave out "
                    "--policy-seed, or serve the run"
                )
            policy = load_policy(self.directory, seed=self.seed)
        else:
            from floq.export import in_memory
            from floq.runs.run import load_run

            policy = in_memory(load_run(self.directory).trained(self.policy_seed), seed=self.seed)
        server = PolicyServer(
            policy,
            host=self.host,
            port=self.port,
            token=token,
            sessions=self.sessions,
            rate=self.rate,
        )

        def listening() -> None:
            host, port = server.address
            shown = "that of FLOQ_TOKEN" if token else server.token
            try:
                print(f"Serving {self.directory} at ws://{host}:{port}, token {shown}", flush=True)
            except OSError as error:
                if token is None:
                    words = f"standard output cannot be written ({error.strerror}), {_UNKNOWN}"
                    raise OSError(words) from error

        server.run(listening=listening)
        print("Stopped; all that was asked is answered.")
        return 0
