import dataclasses
import hashlib
import http.server
import re
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from floq.data import download as module
from floq.data.download import DEFAULT_MIRRORS, download, mirrors_from_environment

NAME = "scene-play-v0"
TRAIN, VALIDATION = f"{NAME}.npz", f"{NAME}-val.npz"


@dataclasses.dataclass
class Mirror:
    """A server of files on this machine, with a choice of faults.

    Attributes:
        files: Content by file name.
        etags: ETag by file name, for the servers that give one.
        ranges: Whether requests for a part of a file are honoured.
        fault: Called with the handler, the answer's headers and the body that is due; sends them.
        requests: Of each request for a file, its name and the Range header.
        linked: SHA-256 of files that a redirect gives on the way.
    """

    files: dict[str, bytes]
    etags: dict[str, str | None] = dataclasses.field(default_factory=dict)
    ranges: bool = True
    fault: Callable | None = None
    requests: list[tuple[str, str | None]] = dataclasses.field(default_factory=list)
    linked: dict[str, str] = dataclasses.field(default_factory=dict)
    url: str = ""

    def ranges_of(self, name: str) -> list[str | None]:
        return [found for requested, found in self.requests if requested == name]


def handler_of(mirror: Mirror) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rsplit("/", 1)[1]
            if name in mirror.linked and "stored" not in self.path:
                self.send_response(302)
                self.send_header("Location", f"/stored/{name}")
                self.send_header("X-Linked-ETag", f'"{mirror.linked[name]}"')
                self.end_headers()
                return
            if name not in mirror.files:
                self.send_error(404)
                return
            content, etag = mirror.files[name], mirror.etags.get(name)
            asked = self.headers.get("Range")
            mirror.requests.append((name, asked))
            unchanged = self.headers.get("If-Range") in (None, etag)
            headers = {} if etag is None else {"ETag": etag}
            status, start = 200, 0
            if asked and mirror.ranges and unchanged:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                status = 206
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            headers["Content-Length"] = str(len(content) - start)
            answer = mirror.fault or send
            answer(self, status, headers, content[start:])

        def log_message(self, format, *args):
            pass

    return Handler


def send(handler, status, headers, body):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def cut_after(size: int):
    """Closes the connection after `size` bytes of each body."""
    return lambda handler, status, headers, body: send(handler, status, headers, body[:size])


def stall_after(size: int, *, until: threading.Event):
    """Sends `size` bytes of each body and then nothing, with the connection open."""

    def fault(handler, status, headers, body):
        send(handler, status, headers, body[:size])
        until.wait(60)

    return fault


@pytest.fixture
def files(tmp_path, file_arrays) -> dict[str, bytes]:
    contents = {}
    for name in (TRAIN, VALIDATION):
        file_arrays["qpos"] = np.random.default_rng(len(name)).normal(size=(11, 40))
        np.savez_compressed(tmp_path / "made.npz", **file_arrays)
        contents[name] = (tmp_path / "made.npz").read_bytes()
    return contents


@pytest.fixture
def serve(files, monkeypatch):
    """Starts a mirror of the files with the faults that are given."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers = []

    def start(**options) -> Mirror:
        mirror = Mirror(files=options.pop("files", dict(files)), **options)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(mirror))
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        mirror.url = f"http://127.0.0.1:{server.server_port}/data"
        servers.append(server)
        return mirror

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def fetch(tmp_path):
    """`download` into an empty folder, in a hurry."""

    def run(*mirrors: Mirror, **options):
        urls = [mirror.url for mirror in mirrors]
        options = {"timeout": 5.0, "backoff": 0.001, **options}
        folder = tmp_path / "data"
        return download(NAME, directory=folder, mirrors=urls, progress=False, **options)

    return run


def assert_fetched(folder, files):
    """The folder holds both files and nothing else."""
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_both_files_are_fetched(serve, fetch, files, tmp_path):
    """A healthy mirror gives both files in one request each, and nothing is left beside them."""
    mirror = serve()
    train, validation = fetch(mirror)
    assert (train.name, validation.name) == (TRAIN, VALIDATION)
    assert_fetched(tmp_path / "data", files)
    assert mirror.requests == [(TRAIN, None), (VALIDATION, None)]


def test_files_that_are_there_are_left(serve, fetch, files, tmp_path):
    """Only the file that is missing is asked for."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / TRAIN).write_bytes(b"mine")
    mirror = serve()
    fetch(mirror)
    assert mirror.requests == [(VALIDATION, None)]
    assert_fetched(tmp_path / "data", {**files, TRAIN: b"mine"})


def test_cut_connections_are_taken_up(serve, fetch, files, tmp_path):
    """Over a server that closes after 1500 bytes each time, every byte is fetched once."""
    mirror = serve(fault=cut_after(1500), etags={TRAIN: '"a"', VALIDATION: '"b"'})
    fetch(mirror)
    assert_fetched(tmp_path / "data", files)
    starts = [f"bytes={start}-" for start in range(1500, len(files[TRAIN]), 1500)]
    assert mirror.ranges_of(TRAIN) == [None, *starts]


def test_a_stalled_connection_is_given_up(serve, fetch, files, tmp_path):
    """A server that stops sending is left for the next mirror, which sends the rest."""
    tested = threading.Event()
    slow, healthy = serve(fault=stall_after(1000, until=tested)), serve()
    started = time.monotonic()
    fetch(slow, healthy, timeout=0.5)
    assert time.monotonic() - started < 30
    tested.set()
    assert_fetched(tmp_path / "data", files)
    assert healthy.ranges_of(TRAIN) == ["bytes=1000-"]


def test_a_later_call_goes_on_from_the_part(serve, fetch, files, tmp_path):
    """What a failed call has fetched is kept, announced, and used by the next call."""
    mirror = serve(fault=cut_after(0), etags={TRAIN: '"a"'})
    part = tmp_path / "data" / f"{TRAIN}.part"
    part.parent.mkdir()
    part.write_bytes(files[TRAIN][:2000])
    part.with_name(f"{part.name}.json").write_text(
        f'["{mirror.url}/{TRAIN}", "\\"a\\"", {len(files[TRAIN])}]'
    )
    with pytest.raises(RuntimeError, match="goes on from there"):
        fetch(mirror)
    assert part.read_bytes() == files[TRAIN][:2000]
    mirror.fault = None
    mirror.requests.clear()
    fetch(mirror)
    assert mirror.ranges_of(TRAIN) == ["bytes=2000-"]
    assert_fetched(tmp_path / "data", files)


def test_a_server_without_ranges_starts_again(serve, fetch, files, tmp_path):
    """Where the server sends the whole file instead of the rest, the part is thrown away."""
    mirror = serve(fault=cut_after(1500), ranges=False)
    with pytest.raises(RuntimeError, match="after 1500 of"):
        fetch(mirror)
    assert (tmp_path / "data" / f"{TRAIN}.part").read_bytes() == files[TRAIN][:1500]
    mirror.fault = None
    fetch(mirror)
    assert_fetched(tmp_path / "data", files)


@pytest.mark.parametrize(
    ("tags", "requests"),
    # With tags the server itself sends the whole new file, without them its size tells.
    [(('"old"', '"new"'), [None, "bytes=1500-"]), ((None, None), [None, "bytes=1500-", None])],
)
def test_a_file_that_changed_starts_again(serve, fetch, files, tmp_path, tags, requests):
    """A part of an older file never ends up in the new one, with or without the server's tags."""
    longer = 0 if tags[0] else 100
    mirror = serve(files={**files, TRAIN: bytes(len(files[TRAIN]) + longer)})
    mirror.etags[TRAIN] = tags[0]

    def change_after_the_first_answer(handler, status, headers, body):
        send(handler, status, headers, body[:1500])
        mirror.files[TRAIN], mirror.etags[TRAIN], mirror.fault = files[TRAIN], tags[1], None

    mirror.fault = change_after_the_first_answer
    fetch(mirror)
    assert mirror.ranges_of(TRAIN) == requests
    assert_fetched(tmp_path / "data", files)


def test_a_part_longer_than_the_file(serve, fetch, files, tmp_path):
    """A part that goes beyond the file's end is thrown away."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"{TRAIN}.part").write_bytes(bytes(len(files[TRAIN]) + 1))
    fetch(serve())
    assert_fetched(tmp_path / "data", files)


def test_a_corrupted_part_is_fetched_once_more(serve, fetch, files, tmp_path):
    """A wrong part is found out at the end, thrown away, and the whole file fetched."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"{TRAIN}.part").write_bytes(bytes(1000))
    mirror = serve()
    fetch(mirror)
    assert mirror.ranges_of(TRAIN) == ["bytes=1000-", None]
    assert_fetched(tmp_path / "data", files)


def test_wrong_content_is_refused(serve, fetch, files, tmp_path):
    """A file that is no dataset is fetched twice and then refused, and never takes its name."""
    mirror = serve(files={**files, TRAIN: b"<html>no such dataset</html>"})
    with pytest.raises(RuntimeError, match="not an npz file"):
        fetch(mirror)
    assert mirror.ranges_of(TRAIN) == [None, None]
    assert list((tmp_path / "data").iterdir()) == []


def test_a_shortened_file_is_refused(serve, fetch, files, tmp_path):
    """A Content-Length smaller than the file gives no dataset."""

    def fault(handler, status, headers, body):
        send(handler, status, {**headers, "Content-Length": "1000"}, body)

    with pytest.raises(RuntimeError, match="not an npz file, or cut short"):
        fetch(serve(fault=fault))
    assert not (tmp_path / "data" / TRAIN).exists()


def test_a_length_that_is_too_large_is_refused(serve, fetch, files, tmp_path):
    """A Content-Length larger than the file gives no dataset, and the sizes are told."""
    size = len(files[TRAIN])

    def fault(handler, status, headers, body):
        send(handler, status, {**headers, "Content-Length": str(size + 5)}, body)

    mirror = serve(fault=fault, ranges=False)
    with pytest.raises(RuntimeError, match=f"after {size} of {size + 5} bytes"):
        fetch(mirror)
    assert not (tmp_path / "data" / TRAIN).exists()


@pytest.mark.parametrize("given", [True, False])
def test_checksums(serve, fetch, files, tmp_path, given):
    """A file whose SHA-256 is not the one given, or published beside it, is refused."""
    right = hashlib.sha256(files[TRAIN]).hexdigest()
    for checksum, fits in ((right.upper(), True), ("0" * 64, False)):
        published = {} if given else {f"{TRAIN}.sha256": f"{checksum}  {TRAIN}\n".encode()}
        options = {"checksums": {TRAIN: checksum}} if given else {}
        mirror = serve(files={**files, **published})
        if fits:
            fetch(mirror, **options)
            assert_fetched(tmp_path / "data", files)
            (tmp_path / "data" / TRAIN).unlink()
        else:
            with pytest.raises(RuntimeError, match=f"SHA-256 {right}, where {checksum} is due"):
                fetch(mirror, **options)
            assert not (tmp_path / "data" / TRAIN).exists()


def test_the_checksum_of_a_redirect_counts(serve, fetch, files):
    """A file that is not what the redirect says is refused, also where it was cut before."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    mirror = serve(linked=sums)
    for path in fetch(mirror):
        assert path.read_bytes() == files[path.name]
        path.unlink()
    mirror = serve(linked=sums | {TRAIN: "0" * 64}, fault=cut_after(1500))
    with pytest.raises(RuntimeError, match=f"sent a file of SHA-256 {sums[TRAIN]}, where 0000"):
        fetch(mirror)


def test_every_mirror_is_listed_with_its_reason(serve, fetch, files):
    """When all mirrors fail, each one is named with what happened, and the ways out are told."""
    absent, broken = serve(files={}), serve(fault=cut_after(0))
    with pytest.raises(RuntimeError) as caught:
        fetch(absent, broken)
    message = str(caught.value)
    assert f"{TRAIN} could not be fetched" in message
    assert re.search(f"{absent.url}: HTTP 404", message)
    assert re.search(f"{broken.url}: closed the connection after 0 of", message)
    assert "--mirror" in message
    assert "$FLOQ_MIRRORS" in message
    # What is absent stays absent, and what is broken may recover.
    assert len(broken.ranges_of(TRAIN)) == 3


def test_a_mirror_that_nobody_serves(fetch, serve):
    """A refused connection is one more reason in the list."""
    gone = Mirror(files={}, url="http://127.0.0.1:9/data")
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1:9/data: .*refused"):
        fetch(gone)


def test_a_full_disk_stops_before_the_transfer(serve, fetch, monkeypatch, tmp_path):
    """Where the file does not fit on the disk nothing of it is written."""
    monkeypatch.setattr(module, "_DISK_RESERVE", 1 << 60)
    with pytest.raises(RuntimeError, match=r"needs 0 MB more .* make room"):
        fetch(serve())
    assert not list((tmp_path / "data").glob("*.part"))


def test_malformed_arguments_are_refused_at_once(tmp_path):
    """Addresses that are not of the web, and checksums that are none, never reach a server."""
    with pytest.raises(ValueError, match="'file:///etc' is no mirror"):
        download(NAME, directory=tmp_path, mirrors=["file:///etc"])
    with pytest.raises(ValueError, match=f"{TRAIN}: 'abc' is no SHA-256"):
        download(NAME, directory=tmp_path, checksums={TRAIN: "abc"})
    with pytest.raises(ValueError, match=r"other\.npz, which is none of"):
        download(NAME, directory=tmp_path, checksums={"other.npz": "0" * 64})
    with pytest.raises(ValueError, match="is not the name"):
        download("../x", directory=tmp_path)


def test_mirrors_of_the_environment_come_first(monkeypatch):
    """The user's mirrors are tried before OGBench's own."""
    monkeypatch.setenv("FLOQ_MIRRORS", "http://a/x  http://b")
    assert mirrors_from_environment() == ("http://a/x", "http://b", *DEFAULT_MIRRORS)
