"use strict";
(() => {
  const COLOURS = ["#3366cc", "#dc5a12", "#109618", "#a03ab0", "#0089a6", "#d0447a", "#7a8a00", "#8a5a3a"];
  const LIGHTER = ["#8fb0ff", "#ff9a5c", "#6fd38a", "#dca0ee", "#62d0e8", "#ff9dc0", "#cfdc58", "#d8ae90"];
  const MARKS = {hint: "#b8860b", skipped: "#b8860b", fault: "#c4342b", back: "#c4342b", stop: "#c4342b", mark: "#7a8aa0"};
  const $ = (query, root = document) => root.querySelector(query);
  const $$ = (query, root = document) => [...root.querySelectorAll(query)];
  const id = (name) => document.getElementById(name);
  let data = {}, plots = new Map(), printing = false, playing = 0, watcher = null;

  const dark = () => !printing && matchMedia("(prefers-color-scheme: dark)").matches;

  // Charts

  function smoothed(values, factor) {
    if (!factor) return values;
    let mean = 0, weight = 0;  // an exponential moving average without bias at the start
    return values.map((value) => {
      if (value == null) return null;
      mean = factor * mean + (1 - factor) * value;
      weight = factor * weight + (1 - factor);
      return mean / weight;
    });
  }

  function table(chart) {
    const places = (line) => line.at ? (data.steps ? line.at.map((i) => data.steps[i]) : line.at) : data.steps;
    const steps = [...new Set(chart.lines.flatMap(places))].sort((a, b) => a - b);
    const index = new Map(steps.map((step, i) => [step, i]));
    const spread = (line, values) => {
      const found = new Array(steps.length).fill(null);
      places(line).forEach((step, i) => { found[index.get(step)] = values[i]; });
      return found;
    };
    return {steps, spread};
  }

  function options(chart, width, log, positive) {
    const ink = dark() ? "#a0a9b8" : "#5b6575", grid = dark() ? "#323a48" : "#e6e9ee";
    const palette = dark() ? LIGHTER : COLOURS;
    const series = [{label: "step"}], bands = [];
    chart.lines.forEach((line, i) => {
      const stroke = palette[i % palette.length];
      series.push({label: line.name, stroke, width: 1.6, spanGaps: true, points: {show: line.y.length < 12, size: 5},
                   value: (u, v) => v == null ? "" : Number(v.toPrecision(4)).toString()});
    });
    chart.lines.forEach((line, i) => {
      if (!line.low) return;
      const at = series.length;
      for (const name of ["high", "low"]) series.push({label: `${line.name} ${name}`, stroke: "transparent", width: 0, spanGaps: true, points: {show: false}});
      bands.push({series: [at, at + 1], fill: palette[i % palette.length] + "2a"});
    });
    const axis = {stroke: ink, grid: {stroke: grid, width: 1}, ticks: {stroke: grid, width: 1}, font: "11px system-ui, sans-serif"};
    return {
      width, height: 230, series, bands,
      scales: {x: {time: false}, y: log ? {distr: positive ? 3 : 4, asinh: .01} : {range: (u, low, high) => {
        if (low == null) return [0, 1];
        const room = .06 * (high - low || Math.abs(high) || 1);
        return [low >= 0 && low < .5 * high ? Math.min(0, low) : low - room, high + room];
      }}},
      axes: [{...axis, size: 32}, {...axis, size: 64, values: (u, values) => values.map((v) => v == null ? "" : Number(v.toPrecision(4)).toString())}],
      cursor: {sync: {key: "all", setSeries: false}, drag: {x: true, y: false}, focus: {prox: 24}},
      focus: {alpha: .25},
      legend: {show: true, live: true},
      hooks: {draw: [draw], setCursor: [(u) => say(u)], ready: [keyboard]},
    };
  }

  const marks = () => id("marks") && id("marks").checked
    ? [...data.events.map((each) => ({...each, colour: MARKS[each.kind]})), ...data.marks.map((each) => ({...each, colour: MARKS.mark}))] : [];

  function draw(u) {
    const {left, top, width, height} = u.bbox, ink = u.ctx;
    ink.save();
    ink.lineWidth = devicePixelRatio;
    ink.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const each of marks()) {
      const x = Math.round(u.valToPos(each.step, "x", true));
      if (x < left || x > left + width) continue;
      ink.strokeStyle = each.colour;
      ink.beginPath();
      ink.moveTo(x, top);
      ink.lineTo(x, top + height);
      ink.stroke();
    }
    ink.restore();
  }

  function say(u) {
    const line = $(".said", u.root.closest(".chart"));
    const at = u.cursor.left;
    if (at == null || at < 0) { line.textContent = ""; return; }
    const near = marks().filter((each) => Math.abs(u.valToPos(each.step, "x") - at) < 6).slice(0, 2);
    line.textContent = near.map((each) => `Step ${each.step}: ${each.text}`).join(" ");
  }

  function keyboard(u) {
    $$(".u-legend tr.u-series", u.root).forEach((row, i) => {
      if (!i) return;
      if (i > u.lineCount) { row.hidden = true; return; }
      row.tabIndex = 0;
      row.setAttribute("role", "button");
      row.setAttribute("aria-label", `show or hide ${u.series[i].label}`);
      row.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        u.setSeries(i, {show: !u.series[i].show});
      });
    });
  }

  function build(box) {
    const number = Number(box.dataset.chart), chart = data.charts[number];
    if (!chart || !box.clientWidth) return;
    const smooth = id("smooth") ? Number(id("smooth").value) : 0, log = id("log") && id("log").checked;
    const {steps, spread} = table(chart);
    const means = chart.lines.map((line) => smoothed(spread(line, line.y), smooth));
    const limits = chart.lines.flatMap((line) => line.low ? [spread(line, line.high), spread(line, line.low)] : []);
    const positive = chart.lines.every((line) => (line.low || line.y).every((value) => value > 0));
    const old = plots.get(box);
    const shown = old ? old.series.map((each) => each.show) : [];
    if (old) old.destroy();
    const width = printing ? Math.min(330, box.clientWidth) : box.clientWidth;  // two on a sheet of paper
    const opts = options(chart, width, log, positive);
    opts.series.forEach((each, i) => { if (shown[i] === false) each.show = false; });
    opts.hooks.init = [(u) => { u.lineCount = chart.lines.length; }];
    opts.hooks.setSeries = [(u, i) => {  // a line's band goes with it
      const band = i > 0 && i <= chart.lines.length && chart.lines[i - 1].low ? chart.lines.length + 1 + 2 * chart.lines.slice(0, i - 1).filter((line) => line.low).length : 0;
      if (band) for (const each of [band, band + 1]) if (u.series[each].show !== u.series[i].show) u.setSeries(each, {show: u.series[i].show});
    }];
    const u = new uPlot(opts, [steps, ...means, ...limits], box);
    plots.set(box, u);
  }

  function rebuild() { for (const box of [...plots.keys()]) build(box); }

  function charts() {
    watcher = new IntersectionObserver((entries) => {
      for (const each of entries) if (each.isIntersecting && !plots.has(each.target)) build(each.target);
    }, {rootMargin: "400px"});
    for (const box of $$(".plot")) {
      watcher.observe(box);
      box.addEventListener("keydown", (event) => {
        const u = plots.get(box), step = {ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10}[event.key];
        if (!u || !step || event.target !== box) return;
        event.preventDefault();
        const from = u.cursor.idx == null ? (step > 0 ? -1 : u.data[0].length) : u.cursor.idx;
        const to = Math.max(0, Math.min(u.data[0].length - 1, from + step));
        u.setCursor({left: u.valToPos(u.data[0][to], "x"), top: u.over.clientHeight / 2});
        const values = u.series.slice(1, u.lineCount + 1).map((each, i) => `${each.label} ${u.data[i + 1][to] == null ? "none" : Number(u.data[i + 1][to].toPrecision(4))}`);
        $(".said", box.closest(".chart")).textContent = `Step ${u.data[0][to]}: ${values.join(", ")}`;
      });
    }
    for (const name of ["log", "smooth", "marks"]) if (id(name)) id(name).addEventListener(name === "smooth" ? "input" : "change", rebuild);
  }

  // Previews

  function slide() {
    const range = id("slide"), slides = $$(".slide");
    if (!range || !slides.length) return;
    const show = () => {
      const at = Math.min(Number(range.value), slides.length - 1);
      slides.forEach((each, i) => { each.hidden = i !== at; });
      id("slide-step").textContent = slides[at].dataset.step;
      range.setAttribute("aria-valuetext", `step ${slides[at].dataset.step}`);
    };
    range.max = slides.length - 1;
    range.addEventListener("input", show);
    id("play").addEventListener("click", () => {
      if (playing) { stop(); return; }
      id("play").textContent = "Stop";
      if (Number(range.value) >= slides.length - 1) range.value = 0;
      show();
      playing = setInterval(() => {
        if (Number(range.value) >= slides.length - 1) { stop(); return; }
        range.value = Number(range.value) + 1;
        show();
      }, 700);
    });
    show();
  }

  function stop() { clearInterval(playing); playing = 0; if (id("play")) id("play").textContent = "Play"; }

  function pair() {
    const box = id("compare"), image = $(".slide:last-of-type img");
    if (!box || !image) return;
    const [before, after] = $$("canvas", box);
    const cut = (canvas, [x, y, w, h]) => {
      const [width, height] = [image.naturalWidth, image.naturalHeight];
      canvas.width = Math.max(1, Math.round(w * width));
      canvas.height = Math.max(1, Math.round(h * height));
      canvas.getContext("2d").drawImage(image, x * width, y * height, w * width, h * height, 0, 0, canvas.width, canvas.height);
      return canvas.width / canvas.height;
    };
    const show = () => {
      const pairs = data.pairs[id("pair").value] || [];
      if (!pairs.length) return;
      id("row").max = pairs.length;
      const chosen = pairs[Math.max(0, Math.min(pairs.length, Number(id("row").value) || 1) - 1)];
      cut(before, chosen[0]);
      box.style.aspectRatio = cut(after, chosen[1]);
      box.hidden = false;
      divide();
    };
    const divide = () => {
      const at = Number(id("divider").value);
      after.style.clipPath = `inset(0 0 0 ${at}%)`;
      $(".divider", box).style.left = `${at}%`;
    };
    id("pair").addEventListener("change", show);
    id("row").addEventListener("input", show);
    id("divider").addEventListener("input", divide);
    box.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse" && !event.buttons) return;
      const place = box.getBoundingClientRect();
      id("divider").value = 100 * (event.clientX - place.left) / place.width;
      divide();
    });
    image.decode().then(show, () => {});
  }

  function zoom() {
    const dialog = id("zoom");
    for (const button of $$("button.zoom")) button.addEventListener("click", () => {
      const image = $("img", button), copy = image.cloneNode();
      copy.width = Math.max(image.naturalWidth, Math.round(1.6 * image.clientWidth));
      $("div", dialog).replaceChildren(copy);
      dialog.showModal();
    });
  }

  function commands() {
    for (const button of $$(".copy")) button.addEventListener("click", async () => {
      const code = button.previousElementSibling;
      try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; }
      catch { getSelection().selectAllChildren(code); button.textContent = "Selected"; }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  function open() {  // what a link leads to may be folded
    const target = location.hash && id(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    target.scrollIntoView({block: "center"});
  }

  // The whole page

  function start() {
    data = JSON.parse(id("data").textContent);
    plots.forEach((u) => u.destroy());
    plots = new Map();
    if (watcher) watcher.disconnect();
    charts(); slide(); pair(); zoom(); commands();
    for (const each of $$("details")) each.addEventListener("toggle", () => { if (each.open) for (const box of $$(".plot", each)) if (!plots.has(box)) watcher.observe(box); });
  }

  // A live page: the content is replaced, and everything that was chosen stays.

  function state() {
    const slides = $$(".slide").length;
    const inputs = $$("input, select").filter((each) => each.id).map((each) => [each.id, each.type === "checkbox" ? each.checked : each.value]);
    return {
      inputs: inputs.filter(([name, value]) => name !== "slide" || Number(value) < slides - 1),  // at the newest: follow it
      step: id("slide") && Number(id("slide").value) < slides - 1 ? $$(".slide")[Number(id("slide").value)].dataset.step : null,
      folded: $$("details").map((each) => [$("summary", each).textContent.trim(), each.open]),
      hidden: [...plots].flatMap(([box, u]) => u.series.flatMap((each, i) => i && !each.show ? [[$("strong", box.closest(".chart")).textContent, each.label]] : [])),
      scroll: $$(".scroll, .recipe").map((each) => each.scrollLeft), left: scrollX, top: scrollY,
    };
  }

  function restore(old) {
    for (const [name, value] of old.inputs) {
      const each = id(name);
      if (!each) continue;
      if (each.type === "checkbox") each.checked = value;
      else if (each.tagName !== "SELECT" || [...each.options].some((option) => option.value === value)) each.value = value;
    }
    const at = old.step == null ? -1 : $$(".slide").findIndex((each) => each.dataset.step === old.step);
    if (id("slide")) id("slide").value = at < 0 ? $$(".slide").length - 1 : at;
    const folded = new Map(old.folded);
    for (const each of $$("details")) { const was = folded.get($("summary", each).textContent.trim()); if (was !== undefined) each.open = was; }
    start();
    const hidden = new Set(old.hidden.map((each) => JSON.stringify(each)));
    for (const box of $$(".plot")) {
      build(box);
      const u = plots.get(box), title = $("strong", box.closest(".chart")).textContent;
      if (u) u.series.forEach((each, i) => { if (i && hidden.has(JSON.stringify([title, each.label]))) u.setSeries(i, {show: false}); });
    }
    $$(".scroll, .recipe").forEach((each, i) => { each.scrollLeft = old.scroll[i] || 0; });
    scrollTo(old.left, old.top);
  }

  async function loaded(page) {  // images that are there have a height at once, so nothing jumps
    const known = new Map($$("img").map((each) => [each.src, each]));
    for (const each of $$("img", page)) {
      const image = known.get(each.src) || new Image();
      if (!known.has(each.src)) { image.src = each.src; image.alt = each.alt; await image.decode().catch(() => {}); }
      each.replaceWith(known.has(each.src) ? image.cloneNode() : image);
    }
  }

  async function follow() {
    const busy = playing || id("zoom").open || $$("audio, video").some((each) => !each.paused) || document.hidden;
    try {
      if (!busy) {
        const {version} = await (await fetch("version", {cache: "no-store"})).json();
        if (version !== data.version) {
          const page = new DOMParser().parseFromString(await (await fetch("./", {cache: "no-store"})).text(), "text/html");
          await loaded(page);
          const old = state(), focus = document.activeElement && document.activeElement.id;
          document.title = page.title;
          id("main").replaceChildren(...page.getElementById("main").childNodes);
          restore(old);
          if (focus && id(focus)) id(focus).focus({preventScroll: true});
        }
        if (id("live")) { id("live").textContent = "live"; id("live").className = "live"; }
      }
    } catch {
      if (id("live")) { id("live").textContent = "the server has stopped"; id("live").className = "live off"; }
    }
    setTimeout(follow, 1000 * data.every);
  }

  start();
  open();
  addEventListener("hashchange", open);
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(rebuild, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", rebuild);
  addEventListener("beforeprint", () => { printing = true; for (const box of $$(".plot")) build(box); });
  addEventListener("afterprint", () => { printing = false; rebuild(); });
  if (data.version) setTimeout(follow, 1000 * data.every);
})();
