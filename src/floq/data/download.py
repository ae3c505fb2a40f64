"""Fetching of published datasets from mirrors, over connections that stall and break.

What has been fetched is kept in `NAME.npz.part`, and `NAME.npz.part.json` says of which file it is
a part. A finished file is checked whole before it takes its final name.
"""

import contextlib
import hashlib
import http.client
import json
import math
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from floq.data.formats import Source
from floq.data.info import check_file
from floq.data.paths import dataset_files
from floq.disk import read_json, sync, writable, writing
from floq.progress import ProgressDisplay

DEFAULT_MIRRORS = (
    "https://rail.eecs.berkeley.edu/datasets/ogbench",
    "https://huggingface.co/datasets/zhouzypaul/ogbench_datasets/resolve/main",
)
"""Where OGBench publishes its files, and a mirror of all sets of states."""

_BLOCK = 1 << 20
_DISK_RESERVE = 256 << 20
_ROUNDS = 3
_CORRUPTIONS = 2
_PERMANENT = (401, 403, 404, 405, 410, 451)


class _MirrorError(Exception):
    """A mirror failed; `permanent` if asking it again is of no use."""

    def __init__(self, reason: str, *, permanent: bool = False):
        super().__init__(reason)
        self.permanent = permanent


class _Origin(NamedTuple):
    """Which file a partial file is a part of.

    Attributes:
        url: Where its bytes came from.
        validator: The server's ETag or date of the file, if it gave one.
        size: Bytes of the whole file, if the server said it.
        checksum: Its SHA-256, if a redirect said it.
    """

    url: str
    validator: str | None
    size: int | None
    checksum: str | None = None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, and keeps what they say of the file.

    Attributes:
        checksum: Its SHA-256, if one was said.
    """

    checksum: str | None = None

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request to where a server points."""
        # Stores of large files have it here, on the way to whichever machine sends them.
        found = re.fullmatch(r'"?([0-9a-fA-F]{64})"?', headers.get("X-Linked-ETag", ""))
        self.checksum = found[1].lower() if found else self.checksum
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def mirrors_from_environment() -> tuple[str, ...]:
    """The mirrors in `$FLOQ_MIRRORS`, separated by spaces, and then the default ones."""
    return (*os.environ.get("FLOQ_MIRRORS", "").split(), *DEFAULT_MIRRORS)


def download(
    name: str,
    *,
    directory: Path | None = None,
    mirrors: Sequence[str] | None = None,
    checksums: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    backoff: float = 1.0,
    progress: bool = True,
) -> tuple[Path, Path]:
    """Fetch the training and the validation file of a dataset.

    A call that was cut off is taken up by the next one. Files that are there already are left.

    Args:
        name: A dataset or a task.
        directory: The folder of the files, `floq.data.paths.data_directory()` by default.
        mirrors: Addresses of folders that hold the files, tried in turn;
            `mirrors_from_environment()` by default.
        checksums: SHA-256 of files, in hexadecimal, by file name. Where there is none, the mirror's
            own `NAME.npz.sha256` is used if it has one, or what its redirect says.
        timeout: Seconds without a byte after which a connection is given up.
        backoff: Seconds of wait after a round over all mirrors; doubled after each that brought
            nothing.
        progress: Whether to draw a progress bar, where there is a terminal.

    Returns:
        The training and the validation file.

    Raises:
        ValueError: The name, a mirror or a checksum is malformed.
        RuntimeError: No mirror gave a sound file, or the disk is full. What has been fetched is
            kept.
        OSError: The folder cannot be written.
    """
    addresses = [_check_mirror(mirror) for mirror in mirrors or mirrors_from_environment()]
    files = dataset_files(name, directory=directory)
    expected = {file: _check_checksum(file, sha) for file, sha in (checksums or {}).items()}
    for unknown in expected.keys() - {path.name for path in files}:
        raise ValueError(
            f"a checksum is given for {unknown}, which is none of {files[0].name}, {files[1].name}"
        )
    if not all(path.exists() for path in files):
        writable(files[0].parent).mkdir(parents=True, exist_ok=True)
    for path in files:
        if not path.exists():
            _Fetch(path, expected.get(path.name), timeout, progress).run(addresses, backoff=backoff)
    return files


class _Fetch:
    """The fetching of one file."""

    def __init__(self, path: Path, checksum: str | None, timeout: float, bar: bool):
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self.checksum = checksum
        self.timeout = timeout
        self.bar = bar

    def run(self, mirrors: Sequence[str], *, backoff: float) -> None:
        """Go round the mirrors until one gives the file, or all have failed for good."""
        reasons: dict[str, str] = {}
        corruptions = dict.fromkeys(mirrors, 0)
        alive = list(mirrors)
        fruitless = 0
        while alive and fruitless < _ROUNDS:
            before = self._fetched()
            for mirror in list(alive):
                try:
                    return self._finish(self._transfer(mirror))
                except _MirrorError as error:
                    reasons[mirror] = str(error)
                    if error.permanent:
                        alive.remove(mirror)
                except ValueError as error:
                    # Whatever was fetched is wrong somewhere; the mirror gets one more chance.
                    self._discard()
                    reasons[mirror] = str(error)
                    corruptions[mirror] += 1
                    if corruptions[mirror] == _CORRUPTIONS:
                        alive.remove(mirror)
            fruitless = 0 if self._fetched() > before else fruitless + 1
            if alive and fruitless < _ROUNDS:
                time.sleep(backoff * 2**fruitless)
        raise RuntimeError(self._failure(reasons))

    def _transfer(self, mirror: str) -> str | None:
        """Fetch what is missing of the file; returns its SHA-256 where one is known."""
        url = f"{mirror}/{self.path.name}"
        checksum = self.checksum or self._published_checksum(url)
        origin, offset = self._origin(), self._fetched()
        if origin is not None and offset == origin.size:
            return checksum or origin.checksum
        redirects = _Redirects()
        with _connection_errors():
            response = self._request(url, origin, offset, redirects)
        with response:
            offset, size = self._agree(response, origin, offset)
            validator = _validator(response)
            if offset == 0:
                self._discard()
            with writing(self.part):
                origin = _Origin(url, validator, size, redirects.checksum)
                self._sidecar().write_text(json.dumps(origin))
                self._receive(response, offset, size)
        return checksum or redirects.checksum

    def _request(
        self, url: str, origin: _Origin | None, offset: int, redirects: _Redirects
    ) -> http.client.HTTPResponse:
        headers = {"User-Agent": "floq"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if origin and origin.validator and origin.url == url:
                headers["If-Range"] = origin.validator
        try:
            return urllib.request.build_opener(redirects).open(
                urllib.request.Request(url, headers=headers), timeout=self.timeout
            )
        except urllib.error.HTTPError as error:
            if error.code == 416:
                # The file on the server ends before what is here: it is another one.
                self._discard()
            raise

    def _agree(
        self, response: http.client.HTTPResponse, origin: _Origin | None, offset: int
    ) -> tuple[int, int | None]:
        """Where the answer starts in the file, and the file's size."""
        if response.status == 200:
            length = response.headers.get("Content-Length")
            return 0, int(length) if length and length.isdecimal() else None
        described = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", described)
        size = int(found[2]) if found else None
        if not found or int(found[1]) != offset or (origin and origin.size not in (None, size)):
            self._discard()
            raise _MirrorError(
                f"answered {response.status} with the range {described!r} where {offset} bytes of "
                f"{(origin and origin.size) or 'unknown'} had been fetched: started again"
            )
        return offset, size

    def _receive(self, response: http.client.HTTPResponse, offset: int, size: int | None) -> None:
        self._require_space((size or offset) - offset)
        whole = lambda count: math.ceil(count / 1e6)
        display = ProgressDisplay(
            whole(size or 0), start=whole(offset), bar=self.bar and bool(size), unit="MB"
        )
        with self.part.open("ab") as file, display:
            display.note(self.path.name)
            while size is None or offset < size:
                with _connection_errors():
                    block = response.read1(_BLOCK)
                if not block:
                    break
                self._require_space(len(block))
                file.write(block)
                offset += len(block)
                display.reach(whole(offset))
        if size is not None and offset != size:
            raise _MirrorError(f"closed the connection after {offset} of {size} bytes")

    def _finish(self, checksum: str | None) -> None:
        """Check the fetched file and give it its name; ValueError if it is not sound."""
        with self.part.open("rb") as file:
            if checksum is not None:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                if found != checksum:
                    raise ValueError(f"sent a file of SHA-256 {found}, where {checksum} is due")
            check_file(Source("npz", self.part))
            sync(file.fileno())
        self.part.replace(self.path)
        self._sidecar().unlink(missing_ok=True)

    def _published_checksum(self, url: str) -> str | None:
        request = urllib.request.Request(f"{url}.sha256", headers={"User-Agent": "floq"})
        try:
            with (
                _connection_errors(),
                urllib.request.urlopen(request, timeout=self.timeout) as response,
            ):
                text = response.read(1024).decode("ascii", errors="replace")
        except _MirrorError as error:
            if error.permanent:
                return None
            raise
        # A server may answer with a page of its own instead of "not found".
        found = re.match(r"[0-9a-fA-F]{64}\b", text.strip())
        return found[0].lower() if found else None

    def _require_space(self, size: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if size + _DISK_RESERVE > free:
            raise RuntimeError(
                f"{self.path} needs {size / 1e6:.0f} MB more and {_DISK_RESERVE / 1e6:.0f} MB to "
                f"spare, and its disk has {free / 1e6:.0f} MB free: make room, or name another "
                "folder with $FLOQ_DATA; what has been fetched is kept"
            )

    def _sidecar(self) -> Path:
        return self.part.with_name(f"{self.part.name}.json")

    def _origin(self) -> _Origin | None:
        try:
            return _Origin(*read_json(self._sidecar()))
        except (OSError, ValueError, TypeError):
            return None

    def _fetched(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self._sidecar().unlink(missing_ok=True)

    def _failure(self, reasons: Mapping[str, str]) -> str:
        lines = [f"  {mirror}: {reason}" for mirror, reason in reasons.items()]
        kept = self._fetched()
        if kept:
            lines.append(f"{kept / 1e6:.1f} MB are kept; the same command goes on from there.")
        return "\n".join(
            [
                f"{self.path.name} could not be fetched:",
                *lines,
                "Name another mirror with --mirror or $FLOQ_MIRRORS, or put the file into "
                f"{self.path.parent}.",
            ]
        )


@contextlib.contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn whatever a connection can fail with into a `_MirrorError`."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(
            f"HTTP {error.code} {error.reason}", permanent=error.code in _PERMANENT
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _MirrorError(str(reason) or type(error).__name__) from error


def _validator(response: http.client.HTTPResponse) -> str | None:
    """What identifies the version of the file that is sent; weak tags do not serve for ranges."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")


def _check_mirror(mirror: str) -> str:
    if not re.fullmatch(r"https?://[^\s?#]+", mirror):
        raise ValueError(
            f"{mirror!r} is no mirror: name the http(s) address of a folder that holds NAME.npz"
        )
    return mirror.rstrip("/")


def _check_checksum(owner: str, checksum: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", checksum):
        raise ValueError(f"{owner}: {checksum!r} is no SHA-256, which has 64 hexadecimal digits")
    return checksum.lower()
