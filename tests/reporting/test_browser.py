"""The page in a browser: charts are drawn under its own policy, controls work, a live page follows its run."""

import functools
import html
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transgan_images.media import ImageMedia, ImageOptions

from transgan.api import Column
from transgan.reporting import html as pages
from transgan.reporting.comparison import compare_runs
from transgan.reporting.serving import LivePage, serve
from transgan.storage import MetricsLog, RunFolder

Browser = Callable[..., str]
LINE = "coat: horse -> zebra"
BEGIN = "2026-01-02 03:04:05+00:00  begins at step 0 of 100 on cpu"


@pytest.fixture
def folder(write_run: Any) -> RunFolder:
    """A run with two translations, an event, and previews of steps 20 and 40."""
    records = [
        {"step": step, "time": 2.0 * step, "lr/generator": 1.0 if step < 30 else 0.5, "lag/coat": 0.5, "lag/tail": 0.1,
         f"{LINE}/loss_G/cycle": 1 / step, "coat: zebra -> horse/loss_G/cycle": 2 / step,
         f"{LINE}/diagnostics/change": 0.1}
        for step in range(1, 41)
    ]  # fmt: skip
    log = [BEGIN, f"{BEGIN[:27]}step 20: hint: {LINE}: levels drift"]
    found: RunFolder = write_run(records=records, log=log)
    x = torch.linspace(-1, 1, 3 * 64 * 64).reshape(3, 64, 64)
    columns = {
        "coat: horse\n(source)": Column("horse", [x, -x]),
        "coat: -> zebra\n(translated)": Column("zebra", [-x, x]),
    }
    for step in (20, 40):
        ImageMedia(ImageOptions(), 64).preview(columns, found.samples / f"step-{step:08d}")
    return found


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`scripted(code)`: let pages run code of the test too, which their policy then allows; it ends with `done(x)`."""

    def add(code: str) -> None:
        style, script = pages._assets()
        both = f"{script}\nconst done = (x) => {{ document.body.dataset.found = JSON.stringify(x); }};\n{code}"
        monkeypatch.setattr(pages, "_assets", lambda: (style, both))

    return add


def found(dom: str) -> Any:
    """Return what the test's code has found."""
    match = re.search(r'data-found="([^"]*)"', dom)
    assert match, dom[-2000:]
    return json.loads(html.unescape(match[1]))


def write(folder: RunFolder) -> Path:
    pages.Report(folder, plan()).write()
    return folder.report


def plan() -> Any:
    """Return a plan that knows how previews are embedded, and nothing else."""
    from types import SimpleNamespace

    translation = SimpleNamespace(translation=SimpleNamespace(target="zebra"))
    media = {"zebra": SimpleNamespace(cls=ImageMedia)}
    return SimpleNamespace(
        losses={}, metrics={}, directions=[translation], media=media, terms=[], recipe=SimpleNamespace(guard=None)
    )


def test_charts_are_drawn_and_controls_work(chromium: Browser, folder: RunFolder, scripted: Any) -> None:
    scripted("""
        const $ = (query) => document.querySelector(query), all = (query) => [...document.querySelectorAll(query)];
        const send = (each, type, more) => each.dispatchEvent(new Event(type, {bubbles: true, ...more}));
        const shown = () => all(".slide").filter((each) => !each.hidden).map((each) => each.dataset.step);
        const violations = [];
        document.addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
        setTimeout(() => {
          const plot = $(".plot");
          const result = {drawn: all(".plot canvas").length, first: shown()};
          $("#slide").value = 0; send($("#slide"), "input"); result.earlier = shown();
          plot.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
          result.said = plot.closest(".chart").querySelector(".said").textContent;
          const row = plot.querySelectorAll(".u-legend tr")[1];
          row.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
          result.hidden = row.classList.contains("u-off");
          $("#log").click(); $("#smooth").value = 0.9; send($("#smooth"), "input");
          result.stays = plot.querySelectorAll(".u-legend tr")[1].classList.contains("u-off");
          $("button.zoom").click(); result.open = $("#zoom").open; $("#zoom").close();
          $("#divider").value = 25; send($("#divider"), "input");
          result.clip = $(".after").style.clipPath; result.pair = !$("#compare").hidden;
          result.size = [$(".after").width, $(".after").height];
          location.hash = "#line-12";
          setTimeout(() => {
            result.unfolded = $("#recipe details").open;
            result.violations = violations;
            done(result);
          }, 500);
        }, 2000);
    """)
    result = found(chromium(write(folder).as_uri(), "--window-size=1280,3000", "--dump-dom"))
    assert result["violations"] == []
    assert result["drawn"] >= 2
    assert (result["first"], result["earlier"]) == (["40"], ["20"])
    assert result["said"] == f"Step 1: {LINE} 1, coat: zebra -> horse 2"
    assert result["hidden"] and result["stays"] and result["open"] and result["pair"] and result["unfolded"]
    assert "25%" in result["clip"] and result["size"] == [128, 128]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(
    chromium: Browser, folder: RunFolder, tmp_path: Path, write_run: Any, view_of: Any, width: int
) -> None:
    view = view_of(write_run("other", records=[{"step": 1, f"{LINE}/loss_G/cycle": 1.0}]))
    write(folder)
    (tmp_path / "compare.html").write_text(compare_runs([view, view_of(folder)]))
    with served(tmp_path) as address:
        for page in ("zebra-1/report.html", "compare.html"):
            (tmp_path / "frame.html").write_text(
                f'<iframe width="{width}" height="2000" src="{page}"></iframe><script>'
                "setTimeout(() => { document.body.dataset.found = JSON.stringify("
                "frames[0].document.documentElement.scrollWidth); }, 3000);</script>"
            )
            assert found(chromium(f"{address}frame.html", "--window-size=1400,2100", "--dump-dom")) == width


class served:
    """A server for the files in a folder."""

    def __init__(self, folder: Path):
        handler = functools.partial(Quiet, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None: ...


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_screenshots_have_text_and_curves(chromium: Browser, folder: RunFolder, tmp_path: Path, mode: str) -> None:
    flags = ["--blink-settings=preferredColorScheme=0"] if mode == "dark" else []
    chromium(
        write(folder).as_uri(), "--window-size=1280,2600", f"--screenshot={tmp_path / 'page.png'}", *flags,
    )  # fmt: skip
    with Image.open(tmp_path / "page.png") as image:
        median = np.median(np.asarray(image.convert("L").resize((64, 130))))
        colours = {colour for _, colour in image.convert("RGB").resize((640, 1300)).getcolors(1 << 20) or []}
    assert median > 200 if mode == "light" else median < 60
    blue = [c for c in colours if c[2] > c[0] + 60]
    orange = [c for c in colours if c[0] > c[2] + 60]
    assert blue and orange  # the two lines of the chart


@pytest.fixture
def live(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a live page; once it is served, the run goes on by a step and a preview."""
    whole = LivePage.page

    def page(self: LivePage) -> bytes:
        content = whole(self)
        with MetricsLog(folder.metrics) as log:
            if log.count == 40:
                log.write({"step": 41, f"{LINE}/loss_G/cycle": 0.01, "lag/coat": 0.5, "lag/tail": 0.1})
                sheet = folder.samples / "step-00000040.png"
                (folder.samples / "step-00000041.png").write_bytes(sheet.read_bytes())
        return content

    monkeypatch.setattr(LivePage, "page", page)
    monkeypatch.setattr(pages, "EVERY", 1)
    server = serve(folder, plan())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_live_page_follows_its_run_and_keeps_what_was_chosen(chromium: Browser, scripted: Any, live: str) -> None:
    scripted("""
        const $ = (query) => document.querySelector(query), all = (query) => [...document.querySelectorAll(query)];
        const old = $("#main > header");
        $("#slide").value = 0; $("#slide").dispatchEvent(new Event("input"));
        $("#smooth").value = 0.5; $("#log").click(); $("#section-tasks").open = false;
        scrollTo(0, 400);
        const wait = setInterval(() => {
          if ($("#main > header") === old || !$("h1").textContent.includes("41")) return;
          clearInterval(wait);
          setTimeout(() => done({
            title: document.title, slide: all(".slide").filter((each) => !each.hidden).map((each) => each.dataset.step),
            slides: all(".slide").length, smooth: $("#smooth").value, log: $("#log").checked,
            folded: !$("#section-tasks").open, top: scrollY, drawn: all(".plot canvas").length,
          }), 500);
        }, 100);
    """)
    result = found(chromium(live, "--window-size=1280,800", "--dump-dom"))
    assert result["title"] == "zebra: running at step 41"
    assert (result["slide"], result["slides"]) == (["20"], 3)
    assert (result["smooth"], result["log"], result["folded"]) == ("0.5", True, True)
    assert result["top"] == 400 and result["drawn"] >= 2


def test_the_page_can_be_printed(chromium: Browser, folder: RunFolder, tmp_path: Path) -> None:
    chromium(write(folder).as_uri(), f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) <= 6
