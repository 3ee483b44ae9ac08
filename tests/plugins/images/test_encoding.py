"""Writing pictures: what a format cannot hold is one line, at the bound of its library."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transgan_images.encoding import write_picture
from transgan_images.pictures import Picture

from transgan.api import DiskError


@pytest.mark.parametrize(("suffix", "most"), [(".jpg", 65_500), (".webp", 16_383), (".gif", 65_535)])
@pytest.mark.parametrize("upright", [False, True])
def test_a_picture_larger_than_its_format_is_refused_with_the_limit(
    tmp_path: Path, suffix: str, most: int, upright: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """At the limit the library writes it; above, it is not asked, since libjpeg would print a line of its own."""
    path = tmp_path / f"a{suffix}"

    def picture(side: int) -> Picture:
        return Picture(np.zeros((side, 1, 3) if upright else (1, side, 3), np.uint8))

    write_picture(picture(most), path)
    with Image.open(path) as image:
        assert max(image.size) == most
    before = path.read_bytes()
    with pytest.raises(
        DiskError, match=rf"a{suffix}: cannot be written: \w+ holds at most {most:,} pixels a side, and"
    ):
        write_picture(picture(most + 1), path)
    assert path.read_bytes() == before and capfd.readouterr() == ("", "")
