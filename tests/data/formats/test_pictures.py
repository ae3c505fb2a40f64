"""Pictures in the cells of tables: what Pillow wrote is what is read, and nothing else is."""

import numpy as np
import pytest

import floq
from floq.data.formats.pictures import decoded
from tests.data.formats.robot_pictures import SIZE, chunk, header, picture, write_pictures, written
from tests.data.taken import all_of


def test_pixels_are_those_that_were_written():
    """Of a PNG all of them, of a JPEG nearly; a smaller picture has their means."""
    pixels = np.stack([picture(0), picture(1)])
    cells = [written(one) for one in pixels]
    np.testing.assert_array_equal(decoded(cells, SIZE, source="a"), pixels)
    smaller = decoded(cells, SIZE, (3, 4), source="a")
    means = pixels.reshape(2, 3, 2, 4, 2, 3).mean((2, 4))
    np.testing.assert_allclose(smaller, means, atol=1)
    plain = np.full((*SIZE, 3), 100, np.uint8)
    jpeg = decoded([written(plain, "JPEG")], SIZE, source="a")
    np.testing.assert_allclose(jpeg[0], plain, atol=2)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (b"", "cannot identify"),
        (written(picture(0))[:-30], "truncated|Truncated"),
        (written(picture(0), "GIF"), "cannot identify"),
        (written(picture(0, (8, 6))), r"it says 8 x 6 pixels, where 6 x 8 are due"),
        (written(picture(0, mode="RGBA")), "its pixels are RGBA"),
        (written(picture(0, mode="L")), "its pixels are L"),
        (
            header(60_000, 60_000) + chunk(b"IDAT", b""),
            r"it says 60000 x 60000 pixels|exceeds limit",
        ),
    ],
)
def test_others_are_refused(cell, words):
    """The row is named, and what is wrong there."""
    with pytest.raises(ValueError, match=rf"a table: the picture in row 1 .*({words})"):
        decoded([written(picture(0)), cell], SIZE, source="a table")


@pytest.mark.extras
@pytest.mark.parametrize("shape", [[*SIZE, 3], [3, *SIZE]])
def test_pictures_of_a_robot(tmp_path, shape):
    """Each row shows its own picture, whichever order of the axes the set tells."""
    pixels = np.stack([picture(row) for row in range(9)])
    folder = write_pictures(tmp_path / "set", map(written, pixels), shape=shape)
    dataset = floq.Dataset.load(folder, rewards="demonstrations")
    batch = all_of(dataset)
    parts = dataset.form.unpack(np.asarray(batch.observations))
    np.testing.assert_array_equal(parts["images.front"], pixels)
    np.testing.assert_array_equal(parts["state"][:, 0], np.arange(9))
    small = floq.Dataset.load(folder, rewards="demonstrations", resize=(3, 4))
    assert {part.name: part.shape for part in small.form.parts}["images.front"] == (3, 4, 3)


@pytest.mark.extras
def test_a_damaged_picture_of_a_robot(tmp_path):
    """File, part, episode and row are named; a row without a picture is."""
    cells = [written(picture(row)) for row in range(9)]
    cells[4] = cells[4][:-40]
    folder = write_pictures(tmp_path / "cut", cells)
    words = r"file-000\.parquet: observation\.images\.front of episode 1: the picture in row 1 "
    with pytest.raises(ValueError, match=words):
        floq.Dataset.load(folder, rewards="demonstrations")
    cells[4] = None
    folder = write_pictures(tmp_path / "none", cells)
    with pytest.raises(ValueError, match=r"images\.front/bytes has no value in row 4"):
        floq.Dataset.load(folder, rewards="demonstrations")
    alone = floq.Dataset.load(folder, rewards="demonstrations", observation_keys=("state",))
    assert alone.form is None
