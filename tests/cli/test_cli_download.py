"""`transgan download`: lists what can be fetched, fetches what is named."""

from pathlib import Path
from typing import Any

import pytest

from transgan.api import Weights
from transgan.registry import Registry

DIGITS = Weights(
    "digits", "digits.bin", "", "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882", 10, "public domain"
)


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of ten digits, the only weights known."""
    (tmp_path / "there.bin").write_bytes(b"0123456789")
    weights = Weights(**{**vars(DIGITS), "url": (tmp_path / "there.bin").as_uri()})

    def installed() -> Registry:
        registry = Registry()
        registry.weights["digits"] = weights
        return registry

    monkeypatch.setattr(Registry, "installed", staticmethod(installed))
    return tmp_path / ".cache/digits.bin"


def test_weights_are_listed_and_fetched(transgan: Any, known: Path) -> None:
    listed = transgan("download")
    assert (listed.code, listed.err) == (0, "")
    assert listed.out.split() == ["digits", "10", "bytes", "not", "downloaded", "public", "domain"]
    assert transgan("download", "digits") == (0, f"{known}, public domain\n", "")
    assert known.read_bytes() == b"0123456789"
    assert transgan("download").out.split()[3:4] == [str(known)]


def test_mistakes(transgan: Any, known: Path, tmp_path: Path) -> None:
    assert transgan("download", "digit").mistake(2) == "no weights 'digit'. Did you mean 'digits'?"
    (tmp_path / "there.bin").write_bytes(b"9876543210")
    assert "gave another file (its sha256 differs)" in transgan("download", "digits").mistake(3)
    (tmp_path / "there.bin").unlink()
    assert "cannot be had: " in transgan("download", "digits").mistake(3)
    assert not known.exists()
