"""Weight files are checked by their hash; a download stores the right file or nothing."""

import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from transgan.api import DataError, DiskError, PluginError, RegisterWeightFiles, WeightFile, hookimpl, locate
from transgan.api.weights import cache_root, download
from transgan.registry import Registry

BYTES = bytes(range(256)) * 20


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files an HTTP server serves; the file `address` has its URL."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        (folder / "address").write_text(f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()


def weight_file(address: str = "http://127.0.0.1:9", data: bytes = BYTES, name: str = "eyes") -> WeightFile:
    return WeightFile(name, "eyes.bin", f"{address}/eyes.bin", hashlib.sha256(data).hexdigest(), len(data), "MIT")


def test_a_downloaded_file_is_located(served: Path, cache: Path) -> None:
    (served / "eyes.bin").write_bytes(BYTES)
    weights = weight_file((served / "address").read_text())
    assert locate(weights) is None
    assert download(weights) == cache / "eyes.bin" == locate(weights)
    assert (cache / "eyes.bin").read_bytes() == BYTES
    assert [path.name for path in cache.iterdir()] == ["eyes.bin"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (BYTES[:-1], "returned 5,119 bytes, expected 5,120 bytes; to install it by hand, copy it to"),
        (BYTES + b"!" * (3 << 20), "returned more, expected 5,120 bytes"),
        (BYTES[::-1], "returned another file (its sha256 differs)"),
        (None, "cannot download http://"),
    ],
)
def test_a_wrong_file_is_rejected_and_the_old_one_kept(
    served: Path, cache: Path, given: bytes | None, why: str
) -> None:
    if given is not None:
        (served / "eyes.bin").write_bytes(given)
    cache.mkdir()
    (cache / "eyes.bin").write_bytes(b"old")
    with pytest.raises(DataError) as raised:
        download(weight_file((served / "address").read_text()))
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)
    assert [path.name for path in cache.iterdir()] == ["eyes.bin"]
    assert (cache / "eyes.bin").read_bytes() == b"old"


def test_without_a_network_a_download_fails_with_one_line(cache: Path) -> None:
    with pytest.raises(DataError, match=rf"eyes: cannot download http://127\.0\.0\.1:9/eyes\.bin: .*{cache}/eyes.bin$"):
        download(weight_file())
    assert list(cache.iterdir()) == []


def test_a_cache_folder_that_cannot_be_created_is_reported(cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(DiskError, match=rf"cannot write {cache}: Not a directory; "):
        download(weight_file())


def test_a_path_is_used_instead_of_the_cache(cache: Path, tmp_path: Path) -> None:
    cache.mkdir()
    (cache / "eyes.bin").write_bytes(b"damaged")
    (tmp_path / "mine.bin").write_bytes(BYTES)
    assert locate(weight_file(), tmp_path / "mine.bin") == tmp_path / "mine.bin"
    with pytest.raises(DataError, match="'transgan download eyes' replaces it"):
        locate(weight_file())
    with pytest.raises(DataError, match=r"its sha256 differs\); give the path of eyes\.bin"):
        locate(weight_file(), cache / "eyes.bin")
    with pytest.raises(DataError, match=r"none\.bin: no such file; 'transgan download eyes' fetches it"):
        locate(weight_file(), tmp_path / "none.bin")


def test_the_default_is_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRANSGAN_CACHE")
    assert cache_root().name == "transgan"
    assert cache_root().is_absolute()


def plugin(*offered: object) -> object:
    class Plugin:
        @hookimpl
        def register_weight_files(self, register: RegisterWeightFiles) -> None:
            for each in offered:
                register(each)  # type: ignore[arg-type]

    return Plugin()


def test_plugins_register_weight_files() -> None:
    registry = Registry()
    registry.add(plugin(weight_file(), weight_file(name="ears")), "one")
    registry.add(plugin(weight_file()), "the same again")
    assert sorted(registry.weight_files) == ["ears", "eyes"]
    with pytest.raises(PluginError, match="there is another weight file 'eyes'"):
        registry.add(plugin(weight_file(name="nose"), weight_file(data=b"other")), "two")
    with pytest.raises(TypeError, match=r"expected a transgan\.api\.WeightFile"):
        registry.add(plugin(SimpleNamespace(name="odd")), "three")
    assert sorted(registry.weight_files) == ["ears", "eyes"]


def test_installed_weight_files_have_a_hash() -> None:
    for weights in Registry.installed().weight_files.values():
        assert weights.url.startswith("https://")
        assert len(bytes.fromhex(weights.sha256)) == 32
        assert weights.size > 0
        assert weights.file == Path(weights.file).name
