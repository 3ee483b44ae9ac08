"""`transgan samples`: files to try a model on, which plugins offer."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from transgan.api import Examples, PluginError, RegisterExamples, hookimpl
from transgan.registry import Registry

Command = Callable[..., object]


def write(folder: Path, seed: int) -> None:
    (folder / "notes").mkdir(exist_ok=True)
    for name in ("a", "b"):
        (folder / "notes" / name).write_text(f"{name} {seed}")


def needs_more(folder: Path, seed: int) -> None:
    raise PluginError('singing needs choir, which cannot be imported: pip install "transgan[choir]"')


NOTES = Examples("notes", ("notes/a", "notes/b"), "two notes", ("cat {folder}", "cat {0}"), write)
SONG = Examples("song", ("song",), "a song", ("play {0}",), needs_more)


class Plugin:
    @hookimpl
    def register_examples(self, register: RegisterExamples) -> None:
        register(SONG)
        register(NOTES)


class Broken:
    @hookimpl
    def register_examples(self, register: RegisterExamples) -> None:
        register("notes")  # type: ignore[arg-type]


def of(monkeypatch: pytest.MonkeyPatch, *plugins: object) -> Registry:
    found = Registry()
    for number, plugin in enumerate(plugins):
        found.add(plugin, f"plugin-{number}", f"package-{number}", "1.0")
    monkeypatch.setattr(Registry, "installed", classmethod(lambda cls: found))
    return found


@pytest.mark.skipif(os.name == "nt", reason="paths of Windows are others")
def test_files_are_written_and_what_to_try_is_said(transgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, Plugin())
    result = transgan("samples", "my files", "--seed", 3)
    assert result.code == 0  # type: ignore[attr-defined]
    assert result.out == (  # type: ignore[attr-defined]
        "my files/notes: two notes\n  cat 'my files/notes'\n  cat 'my files/notes/a'\n"
    )
    assert Path("my files/notes/b").read_text() == "b 3"


def test_where_nothing_can_be_written_that_is_an_error(transgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Singer:
        @hookimpl
        def register_examples(self, register: RegisterExamples) -> None:
            register(SONG)

    of(monkeypatch, Singer())
    result = transgan("samples", "here")
    assert result.code == 2 and not result.out  # type: ignore[attr-defined]
    assert result.err.splitlines()[1].startswith("error: nothing was written into here: ")  # type: ignore[attr-defined]


def test_quietly_the_folder_is_printed(transgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, Plugin())
    assert transgan("samples", "my files", "-q").out == "my files\n"  # type: ignore[attr-defined]
    assert Path("my files/notes/b").is_file()


def test_what_needs_an_extra_is_a_line_and_no_error(transgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, Plugin())
    result = transgan("samples", "here")
    assert result.err == (  # type: ignore[attr-defined]
        'not written: song: singing needs choir, which cannot be imported: pip install "transgan[choir]"\n'
    )


def test_files_that_exist_are_replaced_only_where_that_is_said(
    transgan: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    of(monkeypatch, Plugin())
    Path("here/notes").mkdir(parents=True)
    Path("here/notes/b").write_text("mine")
    message = transgan("samples", "here").error(2)  # type: ignore[attr-defined]
    assert message == (
        f"1 of 3 files exist, the first is {Path('here/notes/b')}; choose another folder, or replace them with "
        "--overwrite"
    )
    assert Path("here/notes/b").read_text() == "mine" and not Path("here/notes/a").exists()
    assert transgan("samples", "here", "--overwrite").code == 0  # type: ignore[attr-defined]
    assert Path("here/notes/b").read_text() == "b 0"


def test_a_file_in_the_way_and_no_examples_are_errors(transgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    of(monkeypatch, Plugin())
    Path("file").write_text("mine")
    assert transgan("samples", "file").error(2) == "file is a file; expected a folder"  # type: ignore[attr-defined]
    of(monkeypatch)
    assert transgan("samples", "here").error(2) == "no plugin offers files to try."  # type: ignore[attr-defined]


def test_a_plugin_that_writes_too_little_is_named(transgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy:
        @hookimpl
        def register_examples(self, register: RegisterExamples) -> None:
            register(Examples("idle", ("idle",), "nothing", (), lambda folder, seed: None))

    of(monkeypatch, Lazy())
    message = transgan("samples", "here").error(PluginError.exit_code)  # type: ignore[attr-defined]
    assert message == f"the examples 'idle' were not written: there is no {Path('here/idle')}"


def test_they_are_listed_and_a_broken_plugin_keeps_no_other_from_its_own(
    transgan: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = of(monkeypatch, Broken(), Plugin())
    lines = transgan("plugins").out.splitlines()  # type: ignore[attr-defined]
    listed = lines[lines.index("examples (transgan samples FOLDER writes them)") + 1 :]
    assert [line.split() for line in listed[:2]] == [["notes", "two", "notes"], ["song", "a", "song"]]
    assert registry.broken == {"examples of plugin-0": "TypeError: found 'notes', expected transgan.api.Examples"}


@pytest.mark.parametrize("files", [(), ("",), ("../up",), ("/etc/passwd",)])
def test_files_are_below_the_folder(files: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected paths below a folder"):
        Examples("bad", files, "", (), write)
