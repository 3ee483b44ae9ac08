"""`transgan init`: a recipe for data of each kind, which passes `transgan check`; by options, and by answers."""

import math
import os
import struct
import subprocess
import sys
import time
import tomllib
import types
import wave
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transgan.api import DataError, Finding, Setup, Starter, as_name, domain_folders, hookimpl
from transgan.recipe import read_recipe
from transgan.recipe.edit import edit
from transgan.registry import Registry

Command = Callable[..., Any]
COUNT = 12


def picture(path: Path, width: int = 40, height: int = 36) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(path).encode())
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)


def sound(path: Path, pitch: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = 16_000
    values = [0.3 * math.sin(6.28 * pitch * i / rate) * math.sin(9.0 * i / rate) for i in range(rate)]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", int(32767 * each)) for each in values))


def pictures(root: Path, *folders: str, prefix: bool = True, **size: int) -> None:
    for folder in folders:
        for i in range(COUNT):
            picture(root / folder / f"{folder.replace('/', '-') if prefix else ''}{i}.png", **size)


def faces(root: Path, races: int = 1) -> None:
    for i in range(120):
        picture(root / f"{21 + i % 9 + 30 * (i % 2)}_{i // 2 % 2}_{i // 4 % races}_{i:05d}.jpg")


def table(root: Path) -> None:
    lines = ["file,number,mood"]
    for i in range(2 * COUNT):
        picture(root / "files" / f"{i}.png")
        lines.append(f"{i}.png,{i},{'calm' if i % 2 else 'glad'}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def sounds(root: Path, *speakers: str) -> None:
    pytest.importorskip("soundfile")
    for number, speaker in enumerate(speakers):
        for i in range(5):
            sound(root / speaker / f"{i}.wav", 120.0 + 40 * number + 5 * i)


def frames(root: Path, *domains: str) -> None:
    for domain in domains:
        for clip in range(3):
            for i in range(8):
                picture(root / domain / f"clip{clip}" / f"{i:03d}.png")


LETTERS = {
    "horse": {"path": "trainA", "held_out": "testA"},
    "zebra": {"path": "trainB", "held_out": "testB"},
}
HALVES = {
    side: {"path": "train", "half": side, "held_out": {"path": "test", "half": side}} for side in ("left", "right")
}
#: By case: the kind, how its data are written, and the domains of the recipe.
CASES: dict[str, tuple[str, Callable[[Path], None], Any]] = {
    "letters": ("unpaired", lambda root: pictures(root, "trainA", "trainB", "testA", "testB"), LETTERS),
    "names": ("unpaired", lambda root: pictures(root, "summer", "winter 2024"), {
        "summer": "summer", "winter_2024": "winter 2024",
    }),
    "halves": ("pairs", lambda root: pictures(root, "train", "test", width=72), HALVES),
    "names alike": ("pairs", lambda root: pictures(root, "maps", "photos", prefix=False), {
        "maps": "maps", "photos": "photos",
    }),
    "many": ("many", lambda root: pictures(root, "train/cat", "train/dog", "train/fox", "val/cat"), {
        "cat": {"path": "train/cat", "held_out": "val/cat"}, "dog": "train/dog", "fox": "train/fox",
    }),
    "table": ("table", table, {"calm": {"mood": "calm"}, "glad": {"mood": "glad"}}),
    "ages": ("faces", faces, {"young": {"age": [20, 30]}, "old": {"age": [50, 60]}}),
    "ages and races": ("faces", lambda root: faces(root, races=2), {
        "young": {"age": [20, 30]}, "old": {"age": [50, 60]}, "white": {"race": "White"}, "black": {"race": "Black"},
    }),
    "voices": ("voices", lambda root: sounds(root, "anna", "bert"), {"anna": "anna", "bert": "bert"}),
    "speakers": ("speakers", lambda root: sounds(root, "anna", "bert", "carl"), {
        "anna": "anna", "bert": "bert", "carl": "carl",
    }),
    "frames": ("clips", lambda root: frames(root, "day", "night"), {"day": "day", "night": "night"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_data_of_each_kind_give_a_recipe_that_passes_check(case: str, transgan: Command, tmp_path: Path) -> None:
    kind, write, domains = CASES[case]
    root = tmp_path / "horse2zebra"
    write(root)
    for machine in ("gpu", "apple", "4gpus"):
        assert transgan("init", f"{machine}.toml", "--data", root, "--machine", machine).code == 0
    result = transgan("init", "mine.toml", "--data", root, "--machine", "cpu")
    assert result.code == 0, result
    assert result.out.splitlines()[-2:] == ["  transgan check mine.toml", "  transgan run mine.toml"]
    recipe = read_recipe(Path("mine.toml")).recipe
    assert {name: each if isinstance(each, str) else dict(each) for name, each in recipe.domains.items()} == domains
    assert recipe.data.root == str(root) and recipe.name == "mine"
    checked = transgan("check", "mine.toml")
    assert checked.code == 0, checked
    starter = Registry.installed().starters[kind]
    for word in starter.why.split():
        assert word in result.out
    assert Path("mine.toml").read_text(encoding="utf-8").startswith("#:schema file://")


@pytest.mark.parametrize("kind", ["clips", "faces", "many", "pairs", "speakers", "table", "unpaired", "voices"])
def test_without_data_it_is_synthetic(kind: str, transgan: Command) -> None:
    if kind in ("speakers", "voices"):
        pytest.importorskip("soundfile")
    result = transgan("init", "--synthetic", "--kind", kind, "--machine", "cpu")
    assert result.code == 0 and result.out.startswith("No data yet: "), result
    data = read_recipe(Path(f"{kind}.toml")).recipe.data
    assert data.source.use.startswith("synthetic_") and data.default is None
    if kind == "unpaired":
        checked = transgan("check", f"{kind}.toml")
        assert checked.code == 0, checked


def test_the_recipe_trains(transgan: Command, tmp_path: Path) -> None:
    pictures(tmp_path / "seasons", "summer", "winter")
    assert transgan("init", "--data", "seasons", "--machine", "cpu").code == 0
    small = ("train.steps=2", "data.size=32", "generators.resnet.width=4", "generators.resnet.blocks=1", "metrics={}")
    words = [word for each in small for word in ("--set", each)]
    assert transgan("run", "seasons.toml", "--out", "run", "-q", *words).code == 0
    assert (tmp_path / "run/model/model.safetensors").is_file()


def test_the_recipe_explains_itself(transgan: Command, tmp_path: Path) -> None:
    pictures(tmp_path / "seasons", "summer", "winter")
    assert transgan("init", "--data", "seasons", "--machine", "cpu").code == 0
    text = (tmp_path / "seasons.toml").read_text(encoding="utf-8")
    _, first, *_ = text.splitlines()
    assert first == f"# seasons: pictures in two folders: {COUNT} in summer, {COUNT} in winter."
    for expected in ("#   transgan check seasons.toml", "'transgan recipes cyclegan'", "# What to change first:"):
        assert expected in text
    (size,) = [line for line in text.splitlines() if line.startswith("size = ")]
    assert size.startswith("size = 64    # pixels")
    assert "286 pixels" not in text  # what the recipe says of its own size
    assert max(map(len, text.splitlines()[1:])) <= 120


def test_several_gpus_share_batches_and_steps(transgan: Command, tmp_path: Path) -> None:
    faces(tmp_path / "people")
    one, four = (tmp_path / f"{name}.toml" for name in ("one", "four"))
    assert transgan("init", one, "--data", "people", "--machine", "gpu").code == 0
    result = transgan("init", four, "--data", "people", "--machine", "4gpus")
    assert "accelerate launch --multi_gpu --num_processes 4 -m transgan run" in result.out
    single, several = read_recipe(one).recipe, read_recipe(four).recipe
    assert several.train.batch == 4 * single.train.batch and several.train.steps == single.train.steps // 4
    assert [each.batch for each in several.stages] == [4 * (each.batch or 0) for each in single.stages]
    assert [each.share for each in several.stages] == [each.share for each in single.stages]


def test_options_that_are_missing_are_named(transgan: Command) -> None:
    assert transgan("init").error(2).startswith("--data is missing: give the folder")
    missing = transgan("init", "--synthetic").error(2)
    assert missing.startswith("--kind is missing") and "clips, faces, many, pairs" in missing
    assert "exclude each other" in transgan("init", "--synthetic", "--data", ".").error(2)


def test_wrong_answers_are_one_line(transgan: Command, tmp_path: Path) -> None:
    pictures(tmp_path / "seasons", "summer", "winter")
    assert transgan("init", "--data", "nowhere").error(3) == "--data nowhere: there is no such folder or file"
    assert "Did you mean 'pairs'?" in transgan("init", "--data", "seasons", "--kind", "pair").error(2)
    assert "not named alike" in transgan("init", "--data", "seasons", "--kind", "pairs").error(3)
    for data in ("seasons", "absent"):  # before the data are looked at
        assert "expected cpu, gpu, apple, or 4gpus" in transgan("init", "--data", data, "--machine", "tpu").error(2)
    assert "ending in .toml" in transgan("init", "mine.txt", "--data", "seasons").error(2)
    (tmp_path / "empty").mkdir()
    nothing = transgan("init", "--data", "empty").error(3)
    assert "no recipe suits what is there, no files" in nothing and "clips, faces, many, pairs" in nothing
    (tmp_path / "empty/notes.txt").touch()
    assert "1 file (1 .txt)" in transgan("init", "--data", "empty").error(3)
    assert not list(tmp_path.glob("*.toml"))


def test_too_few_of_a_kind_differ_from_data_of_no_kind(transgan: Command, tmp_path: Path) -> None:
    for folder in ("cat", "dog"):
        for i in range(3):
            picture(tmp_path / "few" / folder / f"{folder}{i}.png")
    message = transgan("init", "--data", "few", "--machine", "cpu").error(3)
    assert message.endswith("cat has only 3 pictures; expected 4 or more") and message.startswith(
        "few: two folders of "
    )
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("a")
    assert "no recipe suits what is there" in transgan("init", "--data", "notes", "--machine", "cpu").error(3)


def test_a_table_whose_pictures_are_missing_says_how_many_and_which(transgan: Command, tmp_path: Path) -> None:
    table(tmp_path / "set")
    for i in (3, 20):
        (tmp_path / f"set/files/{i}.png").unlink()
    for data in ("set", "set/labels.csv"):  # the table is found, or named
        message = transgan("init", "--data", data, "--machine", "cpu").error(3)
        assert "2 of 24 images that " in message and "files/20.png, " in message and "files/3.png; " in message
        assert message.startswith(f"{data}: pictures with labels in a table")
    assert "2 of 24 images" in transgan("init", "--data", "set", "--kind", "table", "--machine", "cpu").error(3)


def test_a_named_table_says_what_is_wrong_with_it(transgan: Command, tmp_path: Path) -> None:
    faults = {
        "file,mood\n": "found 1 lines, expected a header",
        "file,mood\na.png\n": "labels.csv:2: found 1 columns, expected 2",
        "a.png,calm\nb.png,glad\n": "there is no header",
        "word,mood\na,calm\nb,glad\n": "lists no pictures",
    }
    for text, reason in faults.items():
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
        assert reason in transgan("init", "--data", "labels.csv", "--machine", "cpu").error(3)
    (tmp_path / "a.png").touch()  # which is no table
    assert "no recipe suits what is there, 1 file (1 .png)" in transgan("init", "--data", "a.png").error(3)


def test_what_only_one_kind_could_take_says_what_that_misses(transgan: Command, tmp_path: Path) -> None:
    pictures(tmp_path / "one", "summer")
    message = transgan("init", "--data", "one", "--machine", "cpu").error(3)
    assert message.startswith("one: two folders of pictures, ") and "one folder with pictures, summer; " in message
    for i in range(10):
        picture(tmp_path / "people" / f"{20 + i}_0_0_{i:05d}.jpg")
    message = transgan("init", "--data", "people", "--machine", "cpu").error(3)
    assert "10 of 10 pictures below people are named age_gender_race_date; expected 16 or more" in message
    faces(tmp_path / "some")
    pictures(tmp_path, "some")
    result = transgan("init", "--data", "some", "--machine", "cpu")
    assert "12 pictures with other names are not used" in " ".join(result.out.split())
    for folder in ("a", "b", "c"):
        (tmp_path / "clips" / folder).mkdir(parents=True)
        (tmp_path / "clips" / folder / "x.mp4").touch()
    assert "3 folders with clips or with folders of frames" in transgan("init", "--data", "clips").error(3)


def test_pictures_of_a_table_in_no_domain_are_counted(transgan: Command, tmp_path: Path) -> None:
    table(tmp_path / "set")
    labels = tmp_path / "set/labels.csv"
    text = labels.read_text(encoding="utf-8")
    changed = text.replace("3.png,3,calm", "3.png,3,Calm").replace("4.png,4,glad", "4.png,4,")
    labels.write_text(changed, encoding="utf-8")
    result = transgan("init", "a.toml", "--data", "set", "--machine", "cpu")
    words = " ".join(result.out.split())
    assert "domains by mood; 2 in no domain (1 with mood Calm, 1 without mood); other labels: number" in words
    checked = transgan("check", "a.toml")
    assert "label mood: 1 sample has 'Calm', which 'calm' does not select; spell them alike" in checked.err
    labels.write_text("\n".join(line.rpartition(",")[0] for line in text.splitlines()), encoding="utf-8")
    result = transgan("init", "b.toml", "--data", "set", "--machine", "cpu")
    assert "domains by number; 7 in no domain (7 with number from 9 to 15)." in " ".join(result.out.split())


def test_a_file_is_overwritten_only_with_force(transgan: Command, tmp_path: Path) -> None:
    pictures(tmp_path / "seasons", "summer", "winter")
    (tmp_path / "seasons.toml").write_text("mine", encoding="utf-8")
    assert "exists, and was left as it is" in transgan("init", "--data", "seasons").error(2)
    assert (tmp_path / "seasons.toml").read_text(encoding="utf-8") == "mine"
    assert transgan("init", "--data", "seasons", "--overwrite").code == 0
    assert (tmp_path / "seasons.toml").read_text(encoding="utf-8") != "mine"


def test_a_moving_picture_among_many_that_stand_makes_no_clips(transgan: Command, tmp_path: Path) -> None:
    pictures(tmp_path / "seasons", "summer", "winter")
    still = Image.new("RGB", (40, 40))
    for folder in ("summer", "winter"):
        others = [Image.new("RGB", (40, 40), (9 * i, 0, 0)) for i in range(1, 5)]
        still.save(tmp_path / "seasons" / folder / "moves.gif", save_all=True, append_images=others)
    result = transgan("init", "a.toml", "--data", "seasons", "--machine", "cpu")
    assert result.code == 0 and "clips" not in result.out
    assert read_recipe(tmp_path / "a.toml").recipe.data.media.use == "image"


def test_where_several_kinds_suit_the_others_are_named(transgan: Command, tmp_path: Path) -> None:
    pictures(tmp_path / "streets", "maps", "photos", prefix=False)
    result = transgan("init", "--data", "streets", "--machine", "cpu")
    assert "Taken for pairs; --kind unpaired would suit these data too." in result.out
    assert transgan("init", "a.toml", "--data", "streets", "--machine", "cpu", "--kind", "unpaired").code == 0
    assert read_recipe(tmp_path / "a.toml").recipe.tasks["look"].between == ["maps", "photos"]


@pytest.mark.skipif(not hasattr(os, "login_tty"), reason="needs terminals")
def test_on_a_terminal_it_asks_and_asks_again(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    import pty

    pictures(tmp_path / "streets", "maps", "photos", prefix=False)
    for name in ("old", "streets"):
        (tmp_path / f"{name}.toml").write_text("mine", encoding="utf-8")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "transgan", "init"]
    environment = {**os.environ, "COLUMNS": "200", "TERM": "dumb"}
    process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment)
    request.addfinalizer(lambda: (process.kill(), process.wait(), os.close(ours)))
    os.close(theirs)
    seen = ""

    def until(text: str) -> None:
        nonlocal seen
        deadline = time.monotonic() + 300
        while text not in seen:
            assert time.monotonic() < deadline, seen
            try:
                seen += os.read(ours, 4096).decode()
            except OSError:  # the other side is closed
                assert text in seen, seen
        seen = seen.partition(text)[2]

    def say(text: str) -> None:
        os.write(ours, f"{text}\n".encode())

    for question, wrong, why, right in (
        ("Where are your data?", "strets", "there is no such folder or file", "streets"),
        ("Which of these are they?", "pear", "no such kind of data", "unpaired"),
        ("Where to train?", "tpu", "expected cpu, gpu, apple, or 4gpus", "cpu"),
        ("Which file is the recipe to be?", "old.toml", "exists, and was left as it is", ""),
    ):
        until(question)
        say(wrong)
        until(why)
        until(question)
        say(right)
    until("Wrote streets-2.toml. Next:")
    until("transgan run streets-2.toml")
    assert process.wait(60) == 0
    assert {(tmp_path / f"{name}.toml").read_text(encoding="utf-8") for name in ("old", "streets")} == {"mine"}
    assert read_recipe(tmp_path / "streets-2.toml").recipe.tasks["look"].between == ["maps", "photos"]


def test_folders_of_domains_are_found(tmp_path: Path) -> None:
    for name in ("trainA/x/1.png", "trainA/2.png", "trainB/1.png", "testA/1.png", "notes/1.txt", ".hidden/1.png"):
        (tmp_path / "first" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "first" / name).touch()
    found = domain_folders(tmp_path / "first", (".png",))
    assert [(each.name, each.selection, len(each.files)) for each in found] == [
        ("a", {"path": "trainA", "held_out": "testA"}, 2),
        ("b", "trainB", 1),
    ]
    assert domain_folders(tmp_path / "first", (".wav",)) == []
    for names, expected in (
        (("trains", "cars"), {"cars": "cars", "trains": "trains"}),
        (("training/cat", "training/dog", "validation/cat"), {
            "cat": {"path": "training/cat", "held_out": "validation/cat"}, "dog": "training/dog",
        }),
        (("train_cat", "trainDog", "valid_cat", "evaluationDog"), {
            "Dog": {"path": "trainDog", "held_out": "evaluationDog"},
            "cat": {"path": "train_cat", "held_out": "valid_cat"},
        }),
    ):  # fmt: skip
        root = tmp_path / names[0]
        for name in names:
            (root / name).mkdir(parents=True)
            (root / name / "1.png").touch()
        assert {each.name: each.selection for each in domain_folders(root, (".png",))} == expected
    with pytest.raises(DataError, match="cannot be read"):
        domain_folders(tmp_path / "nowhere", (".png",))


def test_a_starter_of_another_package(tmp_path: Path) -> None:
    def look(root: Path) -> Finding:
        raise DataError("never")

    class Plugin:
        @hookimpl
        def register_starters(self, register: Any) -> None:
            register(Starter("bells", "bells", "Why.", look, Finding("bells", {}), {"cpu": Setup("cyclegan")}))

    class Broken:
        @hookimpl
        def register_starters(self, register: Any) -> None:
            register("cyclegan")

    registry = Registry()
    registry.add(Plugin(), "plugin")
    registry.add(Broken(), "broken")
    assert [*registry.starters] == ["bells"]
    assert "expected transgan.api.Starter" in registry.broken["starters of broken"]


def test_the_starter_of_the_page_works(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs/howto/start_a_recipe.md"
    _, _, source = page.read_text(encoding="utf-8").partition("```python\n")
    module = types.ModuleType("starters_of_a_page")
    exec(source.partition("```")[0], module.__dict__)  # noqa: S102 - a page of this repository
    registry = Registry()
    registry.add(module, "page")
    for name in ("first/1.npy", "second/1.npy"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    found = registry.starters["scans"].look(tmp_path)
    assert found.what == "arrays in two folders: 1 in first, 1 in second"
    assert found.changes["domains"] == {"first": "first", "second": "second"}


def test_values_change_and_comments_stay() -> None:
    text = """\
# Old.
#
# More.

[data]
size = 256     # stale
root = "x"     # stays

[data.media]
use = "image"

[domains]      # gone
a = "a"

[train]
steps = 5      # stale too

[[stages]]
batch = 1
"""
    expected = """\
# New.

[data]
size = 64    # pixels
root = "x"     # stays

[data.media]
use = "image"
flip = false

[domains]    # new
b = { path = "c d" }

[train]
batch = 2

[[stages]]
batch = 3
"""
    changes = {"data.size": 64, "data.media.flip": False, "domains": {"b": {"path": "c d"}}, "train.steps": None}
    changes |= {"nothing.here": None, "train.batch": 2, "stages.0.batch": 3}
    edited = edit(text, changes, {"data.size": "pixels", "domains": "new", "no.such": "x"}, "# New.\n")
    assert edited == expected
    assert tomllib.loads(edited)["domains"] == {"b": {"path": "c d"}}


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not allow")
def test_accents_are_dropped_from_names() -> None:
    assert [as_name(each) for each in ("d\u00f6g s", "k\u00e4tzchen", "\u65e5", "caf\u00e9-1")] == [
        "dog_s", "katzchen", "domain", "cafe-1"
    ]  # fmt: skip


def test_data_whose_name_has_no_letter_of_a_recipe(transgan: Command, tmp_path: Path) -> None:
    pictures(tmp_path / "\u65e5\u672c", "cat", "dog")
    assert transgan("init", "--data", "\u65e5\u672c", "--machine", "cpu").code == 0
    assert Path("unpaired.toml").is_file()


def test_names_with_control_characters(transgan: Command, tmp_path: Path) -> None:
    """Of the recipe itself: a comment in TOML holds none of them."""
    pictures(tmp_path / "data", "cat\x1b[2J", "dog\n[train]")
    result = transgan("init", "odd\nname.toml", "--data", "data", "--machine", "cpu", "-q")
    assert (result.code, result.out) == (0, "odd\\u000aname.toml\n")
    recipe = read_recipe(tmp_path / "odd\nname.toml").recipe
    assert set(recipe.domains.values()) == {"cat\x1b[2J", "dog\n[train]"}
