// The first part of the dashboard's script: numbers as people read them, and charts.

extension DashboardPage {
  static let chartScript = #"""
    "use strict";
    const byId = (id) => document.getElementById(id);
    const shownMs = 120_000;

    // Words

    const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
    const compact = new Intl.NumberFormat("en",
      { notation: "compact", minimumFractionDigits: 1, maximumFractionDigits: 1 });

    function number(value) {
      if (value === null || !Number.isFinite(value)) return "\u2013";
      if (value >= 100_000) return compact.format(value);
      if (value < 10 && Math.round(value * 10) % 10 !== 0) return value.toFixed(1);
      return grouped.format(value);
    }

    function bytes(value) {
      if (value === null || !Number.isFinite(value)) return ["\u2013", ""];
      const units = ["B", "KiB", "MiB", "GiB", "TiB"];
      let index = 0;
      while (value >= 1000 && index < units.length - 1) { value /= 1024; index += 1; }
      return [value < 10 && index > 0 ? value.toFixed(1) : String(Math.round(value)), units[index]];
    }

    function trip(ms) {
      if (ms === null || ms === undefined) return "\u2013";
      if (ms >= 1000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
      return `${ms < 10 ? Number(ms.toFixed(ms < 1 ? 2 : 1)) : Math.round(ms)} ms`;
    }

    function duration(seconds) {
      const parts = [[86_400, "d"], [3_600, "h"], [60, "min"], [1, "s"]];
      const first = Math.max(0, parts.findIndex(([size]) => seconds >= size));
      if (seconds < 1) return "0 s";
      const [size, unit] = parts[first];
      const whole = Math.floor(seconds / size);
      if (first === 3) return `${whole} s`;
      const [nextSize, nextUnit] = parts[first + 1];
      return `${whole} ${unit} ${Math.floor((seconds % size) / nextSize)} ${nextUnit}`;
    }

    // Elements

    function make(name, className, text) {
      const element = document.createElement(name);
      if (className) element.className = className;
      if (text !== undefined) element.textContent = text;
      return element;
    }

    function draw(name, attributes, text) {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      if (text !== undefined) element.textContent = text;
      return element;
    }

    // Writes only what differs, so that nothing is laid out again for nothing.
    function put(element, text) {
      if (element.textContent !== text) element.textContent = text;
    }

    // Lines

    // Runs of places without a gap; a point is [x, y] or null.
    function runs(places) {
      const found = [];
      let run = [];
      for (const place of [...places, null]) {
        if (place) run.push(place);
        else if (run.length > 0) { found.push(run); run = []; }
      }
      return found;
    }

    const round = (value) => Math.round(value * 10) / 10;
    const lineOf = (run) => run.length === 1
      ? `M${round(run[0][0] - 1)} ${round(run[0][1])}h2`
      : "M" + run.map(([x, y]) => `${round(x)} ${round(y)}`).join("L");
    const areaOf = (run, bottom) =>
      `${lineOf(run)}L${round(run.at(-1)[0])} ${bottom}L${round(run[0][0])} ${bottom}Z`;

    function spark(svg, points, key) {
      const [width, height] = [200, 40];
      const now = points.at(-1).at;
      const most = Math.max(...points.map((point) => point[key] ?? 0), 1e-9);
      const places = points.map((point) => point[key] === null ? null : [
        width - (now - point.at) / shownMs * width, height - 1 - point[key] / most * (height - 8)]);
      const found = runs(places);
      const shapes = [
        ...found.map((run) => draw("path", { class: "spark-area", d: areaOf(run, height) })),
        ...found.map((run) => draw("path",
          { class: "spark-line", d: lineOf(run), "vector-effect": "non-scaling-stroke" }))];
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.setAttribute("preserveAspectRatio", "none");
      svg.replaceChildren(...shapes);
    }

    // Scales: { ticks, place } where `place` is from 0, at the bottom, to 1.

    function linear(values) {
      const most = Math.max(...values, 0);
      const rough = Math.max(most, 1) / 4;
      const power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
      const count = Math.max(1, Math.ceil(most / step + 0.02));
      const top = Math.max(count, 2) * step;
      const ticks = [];
      for (let tick = 0; tick <= top + step / 2; tick += step) ticks.push(tick);
      return { ticks, place: (value) => value / top };
    }

    function logarithmic(values) {
      const least = Math.min(...values.map((value) => Math.max(value, 0.01)));
      const low = Math.min(Math.floor(Math.log10(least)), 0);
      const high = Math.max(Math.ceil(Math.log10(Math.max(...values, 0.01))), low + 2);
      const ticks = [];
      for (let tick = low; tick <= high; tick += 1) ticks.push(10 ** tick);
      const place = (value) => (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low);
      return { ticks, place };
    }

    // A chart of two lines. `series`: [{ key, name, look, filled, upper }]; the area goes from the
    // line to the bottom, or to what `upper` is the key of.
    class Chart {
      constructor(name, series, scale, word, none) {
        Object.assign(this, { series, scale, word, none, points: [], hovered: null });
        this.svg = byId(`${name}-chart`);
        this.title = byId(`${name}-title`).textContent;
        this.svg.removeAttribute("aria-labelledby");
        this.values = series.map(({ name: label, look }) => {
          const item = make("li", look, `${label} `);
          const value = item.appendChild(make("b", "", "\u2013"));
          byId(`${name}-legend`).append(item);
          return value;
        });
        this.svg.addEventListener("pointermove", (event) => {
          this.hovered = event.clientX - this.svg.getBoundingClientRect().left;
          this.show(this.points);
        });
        this.svg.addEventListener("pointerleave", () => {
          this.hovered = null;
          this.show(this.points);
        });
        new ResizeObserver(() => this.show(this.points)).observe(this.svg);
      }

      show(points) {
        this.points = points;
        const [width, height] = [this.svg.clientWidth, this.svg.clientHeight];
        if (points.length === 0 || width === 0) return;
        const [left, right, top, bottom] = [54, width - 6, 10, height - 22];
        const now = points.at(-1).at;
        const keys = this.series.flatMap(({ key, upper }) => upper ? [key, upper] : [key]);
        const values = keys.flatMap((key) => points.map((point) => point[key]))
          .filter((value) => value !== null);
        const scale = this.scale(values.length > 0 ? values : [1]);
        const x = (at) => right - (now - at) / shownMs * (right - left);
        const y = (value) => bottom - scale.place(value) * (bottom - top);
        const shapes = this.frame(scale, left, right, bottom, y);
        const runsOf = (key) => runs(points.map((point) =>
          point[key] === null ? null : [x(point.at), y(point[key])]));
        for (const { key, look, filled, upper } of this.series) {
          for (const run of filled ? runsOf(key) : []) {
            shapes.push(draw("path", { class: `area ${look}`, d: areaOf(run, bottom) }));
          }
          const [lows, highs] = upper ? [runsOf(key), runsOf(upper)] : [[], []];
          highs.forEach((run, index) => shapes.push(draw("path",
            { class: `area ${look}`, d: `${lineOf([...run, ...lows[index].reverse()])}Z` })));
        }
        for (const { key, look } of this.series) {
          for (const run of runsOf(key)) {
            shapes.push(draw("path", { class: `line ${look}`, d: lineOf(run) }));
          }
        }
        if (values.length === 0) {
          shapes.push(draw("text", { class: "none", x: (left + right) / 2, y: (top + bottom) / 2,
            "text-anchor": "middle" }, this.none));
        }
        const chosen = this.chosen(points, x);
        if (this.hovered !== null) {
          shapes.push(draw("path", { class: "cursor", d: `M${x(chosen.at)} ${top}V${bottom}` }));
        }
        for (const { key, look } of this.series) {
          if (chosen[key] !== null) shapes.push(draw("circle",
            { class: `dot ${look}`, cx: x(chosen.at), cy: y(chosen[key]), r: 3.5 }));
        }
        this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
        this.svg.replaceChildren(...shapes);
        this.tell(chosen);
      }

      frame(scale, left, right, bottom, y) {
        const shapes = scale.ticks.flatMap((tick, index) => [
          draw("path", { class: index === 0 ? "axis" : "grid", d: `M${left} ${y(tick)}H${right}` }),
          draw("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, this.word(tick))]);
        const times = [[0, "2 min ago", "start"], [0.5, "1 min ago", "middle"], [1, "now", "end"]];
        for (const [part, text, anchor] of times) {
          shapes.push(draw("text", { x: left + part * (right - left), y: bottom + 17,
            "text-anchor": anchor }, text));
        }
        return shapes;
      }

      chosen(points, x) {
        if (this.hovered === null) return points.at(-1);
        const off = ({ at }) => Math.abs(x(at) - this.hovered);
        return points.reduce((best, point) => off(point) < off(best) ? point : best);
      }

      tell(chosen) {
        this.series.forEach(({ key }, index) =>
          put(this.values[index], chosen[key] === null ? "\u2013" : this.word(chosen[key])));
        const words = this.series.map(({ key, name }, index) =>
          `${name} ${this.values[index].textContent}`);
        const label = `${this.title}, last 2 minutes. ${words.join(", ")}.`;
        this.svg.setAttribute("aria-label", label);
      }
    }
    """#
}
