"""`transgan download`: list weight files, and download one."""

from pathlib import Path
from typing import Any

import pytest

from transgan.api import WeightFile
from transgan.registry import Registry

DIGITS = WeightFile(
    "digits", "digits.bin", "", "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882", 10, "public domain"
)


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a file of ten digits the only known weight file; return where it will be downloaded to."""
    (tmp_path / "server.bin").write_bytes(b"0123456789")
    weights = WeightFile(**{**vars(DIGITS), "url": (tmp_path / "server.bin").as_uri()})

    def installed() -> Registry:
        registry = Registry()
        registry.weight_files["digits"] = weights
        return registry

    monkeypatch.setattr(Registry, "installed", staticmethod(installed))
    return tmp_path / ".cache/digits.bin"


def test_weight_files_are_listed_and_downloaded(transgan: Any, target: Path) -> None:
    listed = transgan("download")
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.split() == ["digits", "10", "bytes", "not", "downloaded", "public", "domain"]
    assert transgan("download", "digits") == (0, f"{target}, public domain\n", "")
    assert target.read_bytes() == b"0123456789"
    assert transgan("download").out.split()[3:4] == [str(target)]


def test_another_file_of_that_name_stays(transgan: Any, target: Path) -> None:
    """Of the kind: what is in the way of a write, and was not written by us, stays."""
    target.parent.mkdir()
    target.write_text("mine")
    assert transgan("download", "digits").code == 0
    (aside,) = target.parent.glob("digits.bin.*")
    assert target.read_bytes() == b"0123456789" and aside.read_text() == "mine"
    assert transgan("download", "digits").code == 0  # it is there: nothing is renamed
    assert len(list(target.parent.iterdir())) == 2


def test_errors(transgan: Any, target: Path, tmp_path: Path) -> None:
    assert transgan("download", "digit").error(2) == "no weight file 'digit'. Did you mean 'digits'?"
    (tmp_path / "server.bin").write_bytes(b"9876543210")
    assert "returned another file (its sha256 differs)" in transgan("download", "digits").error(3)
    (tmp_path / "server.bin").unlink()
    assert "cannot download " in transgan("download", "digits").error(3)
    assert not target.exists()
