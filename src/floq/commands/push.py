"""`floq push`: a run, or an export, for others."""

import dataclasses
from pathlib import Path

import tyro


@dataclasses.dataclass(frozen=True)
class Push:
    """Share a run, or an export, on the Hugging Face Hub, with a card about it.

    Attributes:
        directory: The run, or the folder of an export.
        name: OWNER/NAME on the Hub; it is made if it is not there.
        private: Show a new one to nobody else.
    """

    directory: tyro.conf.Positional[Path]
    name: tyro.conf.Positional[str]
    private: bool = False

    def run(self) -> int:
        """Shares it."""
        from floq.sharing import push

        address = push(self.directory, self.name, private=self.private)
        print(f'{address}\nOthers take it by floq.load_run("hf:{self.name}").')
        return 0
