"""The page of a run: whatever is in its folder, it is one valid file that shows what it can, and runs nothing else."""

import base64
import hashlib
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transgan_images.media import ImageMedia, ImageOptions

from transgan.api import Column, Embedded, Media
from transgan.plan import make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registry
from transgan.reporting import previews as previews_module
from transgan.reporting.comparison import compare_runs, differences, overlaid
from transgan.reporting.html import KINDS, Report, duration, render_run, schedule_marks
from transgan.reporting.previews import Previews
from transgan.reporting.runs import RunReader, RunView
from transgan.storage import RunFolder

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
LINE = "coat: horse -> zebra"
TIME = "2026-01-02 03:04:05+00:00  "
BEGIN = f"{TIME}begins at step 0 of 100 on cpu"


class Page(HTMLParser):
    """Collects the elements of a page, their attributes, and the data of its script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        name = tag if dict(attrs).get("type") != "application/json" else "data"
        self.inside.append(name)

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() not in (tag, "data"):
            pass

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts.setdefault(self.inside[-1], []).append(data)

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads("".join(self.texts["data"]))
        return found


def page_of(folder: RunFolder) -> Page:
    report = Report(folder, None)
    report.write()
    return Page(folder.report.read_text(encoding="utf-8"))


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_a_step_without_numbers_leaves_the_others(write_run: Any, at: int, bad: Any) -> None:
    """The kind: a record of a step that was skipped, first, last or between, whose losses are null in the log."""
    values = [1.0, 2.0, 4.0]
    values[at] = bad
    records = [{"step": i + 1, f"{LINE}/loss_G/x": value} for i, value in enumerate(values)]
    data = page_of(
        write_run(records=json.loads(json.dumps(records).replace("NaN", "null").replace("Infinity", "null")))
    ).data
    ((line,),) = [each["lines"] for each in data["charts"]]
    rest = [i for i in range(3) if i != at]
    assert [data["steps"][i] for i in line["at"]] == [i + 1 for i in rest]
    assert line["y"] == [values[i] for i in rest]


def test_the_page_asks_for_nothing_and_runs_nothing_but_its_own(write_run: Any) -> None:
    folder = write_run(records=[{"step": 1, f"{LINE}/loss_G/cycle": 1.0}])
    page = page_of(folder)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form") or attributes.get("method") == "dialog"
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href", "srcset", "action"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("data:", "#", "samples/")), (tag, value)
    (policy,) = [each["content"] for tag, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy and "default-src 'none'" in policy and "connect-src 'none'" in policy and "unsafe" not in policy
    text = folder.report.read_text(encoding="utf-8")
    for tag in ("script", "style"):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "MIT License" in text and not re.search(r"url\(|@import|https?://(?!github.com/leeoniya)", text)


def test_everything_from_outside_is_escaped(write_run: Any, tmp_path: Path) -> None:
    """The kind: names of runs, recipes, domains, figures, plugins, files and messages, all of which others choose."""
    name = json.dumps(EVIL)
    recipe = f'name = {name}\n[train]\nsteps = 9\n[tasks.{name}]\nbetween = ["a", {name}]\n[losses.{name}]\n# {EVIL}\n'
    translation = f"t: a -> {EVIL.replace('/', '')}"
    records = [
        {"step": step, f"{translation}/loss_G/{EVIL}": 1.0, f"{translation}/{EVIL.replace('/', '')}": 2.0, EVIL: 3.0,
         f"lag/{EVIL}": 1.0, f"condition/{EVIL} | b": 0.1}
        for step in (1, 2)
    ]  # fmt: skip
    result = {
        "steps": 2, "seed": EVIL, "translations": {EVIL: {EVIL: 1.0}}, "protocols": {EVIL: EVIL}, "held_out": True,
        "advice": [f"hint: {EVIL}"], "guard": [EVIL], "warnings": [EVIL],
        "conditions": {f"{EVIL} | b": {"difference": 0.1, "change": 0.1, "of_change": 1.0}},
    }  # fmt: skip
    log = [BEGIN.replace("cpu", EVIL), f"{TIME}warning: step 1: {EVIL}", f"{TIME}stopped at step 2"]
    folder = write_run(EVIL.replace("/", ""), records, log, result, recipe)
    folder.environment.write_text(json.dumps({EVIL: EVIL}))
    (folder.samples / f"step-00000001-{EVIL.replace('/', '')}.txt").write_text(EVIL)
    view = RunReader(folder, None, KINDS).read()
    for text in (render_run(view), compare_runs([view, view])):
        page = Page(text)
        assert len([tag for tag, _ in page.elements if tag == "script"]) == 2  # the data, and the page's own
        assert not [each for _, each in page.elements if {"onerror", "onload"} & each.keys() or each.get("src") == "x"]
        assert "<script>alert" not in text


def test_text_that_moves_a_cursor_or_reverses_letters_is_shown_as_escape_sequences(write_run: Any) -> None:
    page = page_of(write_run(log=[BEGIN, f"{TIME}warning: step 1: a\u202eb\x1b[2Jc"]))
    shown = "".join(page.texts["li"])
    assert "a\\u202eb\\u001b[2Jc" in shown and "\u202e" not in shown


def test_a_long_run_gives_a_page_of_bearable_size(write_run: Any) -> None:
    rng = np.random.default_rng(0)
    keys = [f"{LINE}/loss_G/loss{i}" for i in range(20)]
    records = [dict(zip(["step", *keys], [step, *rng.random(20).round(6)], strict=True)) for step in range(1, 20_001)]
    records[7777][keys[0]] = 123.0  # a peak
    folder = write_run(records=records)
    data = page_of(folder).data
    assert folder.report.stat().st_size < 2_000_000 < folder.metrics.stat().st_size
    assert data["size"] == 64 and max(data["charts"][0]["lines"][0]["high"]) == 123
    assert "A point is the mean of 64 records" in folder.report.read_text()


def test_changes_of_schedules_are_marked(write_run: Any, view_of: Callable[[RunFolder], RunView]) -> None:
    rates = [1.0] * 4 + [0.8, 0.6, 0.4] + [0.4] * 3
    records = [{"step": i + 1, "lr/generator": rate, "weight/cycle": 10.0} for i, rate in enumerate(rates)]
    marks = schedule_marks(view_of(write_run(records=records)).curves)
    assert marks == [
        {"step": 4, "text": "learning rate of generator falls from here"},
        {"step": 7, "text": "learning rate of generator stays from here"},
    ]


def test_losses_are_explained_and_linked_to_their_place_in_the_recipe(write_run: Any, recipe_file: Any) -> None:
    recipe = recipe_file("[train]\nsteps = 2\n[generators]\ng.use = 'unet'\n[losses]\ncycle = 1.0\n").read_text()
    plan = make_plan(parse_recipe(recipe), Registry.installed())
    folder = write_run(records=[{"step": 1, "age: young -> old/loss_G/cycle": 1.0}])
    Report(folder, plan).write()
    text = folder.report.read_text()
    lines = folder.recipe.read_text().splitlines()
    number = lines.index("[losses.cycle]") + 1
    assert "Cycle consistency: L1 distance between a source and its" in text
    assert f'<a href="#line-{number}">in the recipe</a>' in text
    assert f'<span id="line-{number}">[losses.cycle]</span>' in text


# Previews


def sheet(folder: RunFolder, step: int, side: int = 16) -> Path:
    media = ImageMedia(ImageOptions(), side)
    x = torch.linspace(-1, 1, 3 * side * side).reshape(3, side, side)
    columns = {"t: a\n(source)": Column("a", [x, -x]), "t: -> b\n(translated)": Column("b", [-x, x])}
    return media.preview(columns, folder.samples / f"step-{step:08d}")


class OnlyMedia(ImageMedia):
    """Counts how often a file is embedded."""

    seen: list[tuple[str, int]] = []

    @classmethod
    def embed(cls, path: Path, side: int) -> Embedded:
        cls.seen.append((path.name, side))
        return super().embed(path, side)


def test_a_sheet_is_embedded_with_the_places_of_its_items(write_run: Any, tmp_path: Path) -> None:
    path = sheet(write_run(), 3, side=64)
    embedded = ImageMedia.embed(path, 1600)
    assert embedded.content == path.read_bytes() or embedded.type == "image/webp"
    with Image.open(path) as image:
        width, height = image.size
        whole = np.asarray(image.convert("RGB"))
    for name, expected in (("t: a\n(source)", -1.0), ("t: -> b\n(translated)", 1.0)):
        left, top, w, h = embedded.cells[name][0]
        cell = whole[round(top * height) : round((top + h) * height), round(left * width) : round((left + w) * width)]
        assert cell.shape[:2] == (128, 128)
        assert np.sign(cell[0, 0].mean() - 127.5) == np.sign(expected)  # the first pixel of x, or of -x
        assert cell[0].min() == cell[0, :2].min() or expected > 0  # and no border belongs to it
    small = ImageMedia.embed(path, 100)
    assert small.cells == embedded.cells and len(small.content) < len(path.read_bytes())
    with Image.open(__import__("io").BytesIO(small.content)) as image:
        assert max(image.size) <= 100 or small.content == path.read_bytes()


def test_an_image_that_is_no_sheet_has_no_cells(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert ImageMedia.embed(tmp_path / "a.png", 100).cells == {}
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    embedded = Media.embed(tmp_path / "b.wav", 100)
    assert embedded.type.startswith("audio/") and embedded.content == b"RIFF"


def test_of_many_previews_a_few_are_shown_and_each_is_embedded_once(
    write_run: Any, monkeypatch: pytest.MonkeyPatch, recipe_file: Any
) -> None:
    monkeypatch.setattr(previews_module, "SHOWN", 4)
    recipe = recipe_file("[train]\nsteps = 2\n[generators]\ng.use = 'unet'\n[losses]\ncycle = 1.0\n").read_text()
    plan = make_plan(parse_recipe(recipe), Registry.installed())
    for domain, media in plan.media.items():
        plan.media[domain] = media.__class__(media.use, OnlyMedia, media.options)
    folder = write_run()
    reader = Previews(folder.samples, KINDS)
    OnlyMedia.seen.clear()
    for step in range(1, 12):
        sheet(folder, step)
        shown = [each.step for each in reader.read(plan)]
        assert shown[0] == 1 and shown[-1] == step and len(shown) <= 5
    assert shown == [1, 5, 9, 11]
    assert len(OnlyMedia.seen) == len(set(OnlyMedia.seen))


def test_files_beside_a_sheet_are_played_or_linked(write_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run()
    sheet(folder, 3)
    names = [f"step-00000003-{name}" for name in ("10-b.wav", "2-a.wav", "notes.txt", "long #1.wav")]
    for name in names:
        (folder.samples / name).write_bytes(b"x" * (100 if "long" not in name else 1000))
    monkeypatch.setattr(previews_module, "LARGEST", 500)
    page = page_of(folder)
    players = [each["src"] for tag, each in page.elements if tag == "audio"]
    assert len(players) == 2 and all(str(each).startswith("data:audio/") for each in players)
    links = [each["href"] for tag, each in page.elements if tag == "a" and str(each["href"]).startswith("samples/")]
    assert set(links) >= {"samples/step-00000003-notes.txt", "samples/step-00000003-long%20%231.wav"}
    titles = [text for text in page.texts["figcaption"] if text.strip()]
    assert titles.index("2 a") < titles.index("10 b")


# Comparison


def test_runs_are_compared_by_their_differing_keys_and_over_their_own_steps(
    write_run: Any, view_of: Callable[[RunFolder], RunView]
) -> None:
    recipe = "[train]\nsteps = 10\nseed = 1\n[losses.cycle]\nweight = 1.0\n"
    both = ("t: a -> b", "t: b -> a")
    first = [
        {"step": step, **{f"{each}/loss_G/cycle": float(step + i) for i, each in enumerate(both)}} for step in (1, 2)
    ]
    second = [{"step": step, "t: a -> b/loss_G/cycle": 5.0, "lr/g": 0.5} for step in (5, 10, 15)]
    one = view_of(write_run("one", first, recipe=recipe))
    two = view_of(write_run("two", second, recipe=recipe.replace("weight = 1.0", "weight = 2.0\nlate = true")))
    written = [("losses.cycle.weight", ["1.0", "2.0"]), ("losses.cycle.late", ["", "true"])]
    assert differences([one, two]) == (written, [])
    (chart,) = overlaid([one, two])
    assert chart["title"] == "cycle, generator"
    assert [(each["name"], each["at"], each["y"]) for each in chart["lines"]] == [
        ("one", [1, 2], [1.5, 2.5]),
        ("two", [5, 10, 15], [5, 5, 5]),
    ]
    assert "losses.cycle.weight" in compare_runs([one, two])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (61, "1 min 01 s"),
        (3600 * 2 + 305, "2 h 05 min"),
        (90_000, "1 d 1 h"),
        (None, "unknown"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
