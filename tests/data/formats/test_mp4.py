"""Tables of MP4 files, written by hand, of which a reader would take more than is due."""

import struct

import pytest

from floq.data.formats.mp4 import check_tables


def box(kind, *parts, says=None):
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8 if says is None else says, kind.encode()) + body


def listed(kind, *numbers):
    """A box with a number of entries in front of them."""
    return box(kind, struct.pack(f">{len(numbers) + 1}I", 0, *numbers))


SOUND = {
    "stts": listed("stts", 1, 5, 1024),
    "stsz": listed("stsz", 0, 2, 10, 12),
    "stco": listed("stco", 1, 40),
}


def file_of(tables=SOUND, *, moov=(), after=()):
    stbl = box("stbl", *tables.values())
    inner = box("trak", box("edts", listed("elst", 1, 0, 0, 0)), box("mdia", box("minf", stbl)))
    return b"".join(
        [box("ftyp", b"isom"), box("mdat", b"x" * 22), box("moov", inner, *moov), *after]
    )


def test_plain_files_pass(tmp_path):
    """Of as many samples as are due, also where the size of a box takes eight bytes."""
    path = tmp_path / "a.mp4"
    path.write_bytes(file_of())
    check_tables(path, most=5)
    long = struct.pack(">I4sQ", 1, b"mdat", 16 + 4) + b"1234"
    path.write_bytes(file_of(after=[long]))
    check_tables(path, most=5)
    with pytest.raises(FileNotFoundError, match=r"b\.mp4: no such file"):
        check_tables(tmp_path / "b.mp4", most=5)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (file_of()[:-3], "cut short or damaged: at byte 42 it says that"),
        (file_of()[:20], "at byte 12 it says"),
        (b"", "it is empty"),
        (b"RIFF" * 9, "it is no MP4 file"),
        (file_of(SOUND | {"stts": listed("stts", 1, 2**31, 1)}), "stts declares 2,147,483,648"),
        (file_of(SOUND | {"stts": listed("stts", 2, 3, 1, 3, 1)}), "stts declares 6 entries"),
        (file_of(SOUND | {"stsz": listed("stsz", 1, 10**9)}), "stsz declares 1,000,000,000"),
        (file_of(SOUND | {"stsz": listed("stsz", 0, 3, 10, 12)}), "stsz declares 3 entries in 20"),
        (file_of(SOUND | {"ctts": listed("ctts", 10**6)}), "ctts declares 1,000,000"),
        (file_of(SOUND | {"stz2": listed("stz2", 1)}), "stz2 in stz2, as files in fragments"),
        (file_of(moov=[box("mvex", b"")]), "mvex in mvex"),
        (file_of(moov=[box("udta", SOUND["stsz"])]), "it has stsz in udta"),
        (file_of(moov=[box("edts", listed("elst", 20, *[0] * 60))]), "elst declares 20 entries"),
        (file_of(after=[box("free", b"x" * 2**21)]), "its free has 2,097,152 bytes"),
        (file_of(after=[box("skip")] * 10_001), "more than 10,000 boxes"),
    ],
)
def test_what_is_refused(tmp_path, content, words):
    """Files that are cut short, or that declare more than is due; each is named."""
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        check_tables(path, most=5)
    assert str(path) in str(caught.value)
