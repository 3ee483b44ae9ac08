"""Weights are the file announced, to the byte, wherever they lie; a download leaves that file or nothing."""

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from transgan.api import DataError, DiskError, PluginError, RegisterWeights, Weights, hookimpl, locate
from transgan.api.weights import cache_root, download
from transgan.registry import Registry

BYTES = bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files are served; its address is in the file `address`."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (folder / "address").write_text(f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()


def announced(address: str = "http://127.0.0.1:9", data: bytes = BYTES, name: str = "eyes") -> Weights:
    return Weights(name, "eyes.bin", f"{address}/eyes.bin", hashlib.sha256(data).hexdigest(), len(data), "MIT")


def test_a_download_puts_the_file_where_it_is_looked_for(served: Path, cache: Path) -> None:
    (served / "eyes.bin").write_bytes(BYTES)
    weights = announced((served / "address").read_text())
    assert locate(weights) is None
    assert download(weights) == cache / "eyes.bin" == locate(weights)
    assert (cache / "eyes.bin").read_bytes() == BYTES
    assert [path.name for path in cache.iterdir()] == ["eyes.bin"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (BYTES[:-1], "gave 5,119 bytes, expected 5,120 bytes; it can be put at"),
        (BYTES + b"!" * (3 << 20), "gave more, expected 5,120 bytes"),
        (BYTES[::-1], "gave another file (its sha256 differs)"),
        (None, "cannot be had: HTTP 404"),
    ],
)
def test_a_wrong_file_is_refused_and_the_old_one_stays(
    served: Path, cache: Path, given: bytes | None, why: str
) -> None:
    if given is not None:
        (served / "eyes.bin").write_bytes(given)
    cache.mkdir()
    (cache / "eyes.bin").write_bytes(b"old")
    with pytest.raises(DataError) as raised:
        download(announced((served / "address").read_text()))
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [path.name for path in cache.iterdir()] == ["eyes.bin"]
    assert (cache / "eyes.bin").read_bytes() == b"old"


def test_without_a_network_one_line_says_so(cache: Path) -> None:
    with pytest.raises(DataError, match=rf"eyes: http://127\.0\.0\.1:9/eyes\.bin cannot be had: .*{cache}/eyes.bin by"):
        download(announced())
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(DiskError, match=rf"{cache}/eyes\.bin: cannot be written: "):
        download(announced())


def test_a_path_wins_over_the_cache(cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    (cache / "eyes.bin").write_bytes(b"damaged")
    (tmp_path / "mine.bin").write_bytes(BYTES)
    assert locate(announced(), tmp_path / "mine.bin") == tmp_path / "mine.bin"
    with pytest.raises(DataError, match="'transgan download eyes' replaces it"):
        locate(announced())
    with pytest.raises(DataError, match=r"its sha256 differs\); give eyes\.bin itself"):
        locate(announced(), cache / "eyes.bin")
    with pytest.raises(DataError, match=r"none\.bin: no such file; 'transgan download eyes' fetches it"):
        locate(announced(), tmp_path / "none.bin")


def test_the_users_cache_folder_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSGAN_CACHE")
    assert cache_root().name == "transgan"
    assert cache_root().is_absolute()


def plugin(*offered: object) -> object:
    class Announcing:
        @hookimpl
        def register_weights(self, register: RegisterWeights) -> None:
            for each in offered:
                register(each)  # type: ignore[arg-type]

    return Announcing()


def test_plugins_announce_weights() -> None:
    registry = Registry()
    registry.add(plugin(announced(), announced(name="ears")), "one")
    registry.add(plugin(announced()), "the same again")
    assert sorted(registry.weights) == ["ears", "eyes"]
    with pytest.raises(PluginError, match="there are other weights called 'eyes' already"):
        registry.add(plugin(announced(name="nose"), announced(data=b"other")), "two")
    with pytest.raises(TypeError, match=r"is no transgan\.api\.Weights"):
        registry.add(plugin(SimpleNamespace(name="odd")), "three")
    assert sorted(registry.weights) == ["ears", "eyes"]


def test_what_is_installed_is_pinned() -> None:
    for weights in Registry.installed().weights.values():
        assert weights.url.startswith("https://")
        assert len(bytes.fromhex(weights.sha256)) == 32
        assert weights.size > 0
        assert weights.file == Path(weights.file).name
