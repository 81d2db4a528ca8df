// The second part of the dashboard's script: it asks once a second, and shows what it was told.

extension DashboardPage {
  static let script = #"""
    const everyMs = 1_000;
    const patienceMs = 5_000;
    // Pings are rare: of what came within this time a round trip is told.
    const tripWindowMs = 30_000;
    const shownMax = 100;
    const searchedMax = 1_000;
    let token = "";
    let points = [];
    let previous = null;

    // Asking

    class Refused extends Error {
      constructor(status, text) {
        super(text);
        this.status = status;
      }
    }

    async function ask(path, options = {}) {
      const headers = { ...options.headers };
      if (token !== "") headers.Authorization = `Bearer ${token}`;
      const answer = await fetch(path,
        { ...options, headers, cache: "no-store", signal: AbortSignal.timeout(patienceMs) });
      const text = await answer.text();
      if (!answer.ok) throw new Refused(answer.status, text.trim());
      return text;
    }

    // Metrics

    // The samples of a text of Prometheus: name -> [{ labels, value }].
    class Reading {
      constructor(text) {
        this.at = Date.now();
        this.families = new Map();
        for (const line of text.split("\n")) {
          const parts = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
          if (parts === null) continue;
          const labels = {};
          for (const [, name, value] of (parts[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
            labels[name] = value.replace(/\\(.)/g, (_, mark) => mark === "n" ? "\n" : mark);
          }
          const name = parts[1].replace(/^bascule_/, "");
          if (!this.families.has(name)) this.families.set(name, []);
          this.families.get(name).push({ labels, value: Number(parts[3]) });
        }
      }

      all(name, labels = {}) {
        const wanted = Object.entries(labels);
        return (this.families.get(name) ?? [])
          .filter((sample) => wanted.every(([key, value]) => sample.labels[key] === value));
      }

      sum(name, labels) {
        return this.all(name, labels).reduce((sum, { value }) => sum + value, 0);
      }

      histogram(name, labels) {
        return {
          count: this.sum(`${name}_count`, labels), sum: this.sum(`${name}_sum`, labels),
          buckets: this.all(`${name}_bucket`, labels).map((sample) => ({ value: sample.value,
            bound: sample.labels.le === "+Inf" ? Infinity : Number(sample.labels.le) })),
        };
      }
    }

    // Counters that have become less: the gateway has been started anew.
    function rate(reading, name, labels) {
      if (previous === null) return null;
      const change = reading.sum(name, labels) - previous.sum(name, labels);
      return change < 0 ? null : change / Math.max((reading.at - previous.at) / 1000, 0.001);
    }

    // Milliseconds: { mean, most }, where 95 % are within `most`, or nulls when there was no Ping.
    function trips(now, before) {
      const count = before ? now.count - before.count : 0;
      if (count <= 0) return { mean: null, most: null };
      const mean = (now.sum - before.sum) / count;
      const changes = now.buckets.map(({ bound, value }, index) =>
        ({ bound, value: value - before.buckets[index].value }));
      const index = changes.findIndex(({ value }) => value >= count * 0.95);
      const low = index > 0 ? changes[index - 1] : { bound: 0, value: 0 };
      const { bound, value } = changes[index];
      const part = (count * 0.95 - low.value) / Math.max(value - low.value, 1);
      const most = bound === Infinity ? low.bound : low.bound + (bound - low.bound) * part;
      // In the first bucket nothing is known but the mean.
      return { mean: mean * 1000, most: Math.max(mean, index > 0 ? most : 0) * 1000 };
    }

    function add(one, other) {
      return one === null || other === null ? null : one + other;
    }

    function pointOf(reading) {
      const point = { at: reading.at };
      point.sockets = reading.sum("bridges_open") + reading.sum("tunnels_open");
      point.connections = reading.sum("client_connections");
      point.requests = rate(reading, "requests_total");
      point.fromClients = rate(reading, "messages_total", { direction: "from_client" });
      point.fromBackends = rate(reading, "messages_total", { direction: "from_backend" });
      point.messages = add(point.fromClients, point.fromBackends);
      for (const [key, direction] of [["up", "from_client"], ["down", "from_backend"]]) {
        point[key] = add(rate(reading, "message_bytes_total", { direction }),
          rate(reading, "tunnel_bytes_total", { direction }));
      }
      point.bytes = add(point.up, point.down);
      point.refusedSoFar = refusals(reading).reduce((sum, { value }) => sum + value, 0);
      const last = points.at(-1)?.refusedSoFar ?? point.refusedSoFar;
      point.refused = previous === null ? null : Math.max(0, point.refusedSoFar - last);
      const start = points.find((old) => old.client && old.at >= reading.at - tripWindowMs);
      for (const peer of ["client", "backend"]) {
        point[peer] = reading.histogram("ping_round_trip_seconds", { peer });
        const { mean, most } = trips(point[peer], start?.[peer]);
        point[`${peer}Trip`] = mean;
        point[`${peer}Most`] = most;
      }
      return point;
    }

    function refusals(reading) {
      return reading.all("handshakes_total")
        .filter(({ labels }) => !["accepted", "abandoned"].includes(labels.result));
    }

    // Tiles

    const tiles = new Map();

    function tile(key, title) {
      const box = make("div", "tile");
      const parts = { value: make("dd", "value"), unit: make("small"), number: make("span"),
        under: make("dd", "under"), svg: draw("svg", { "aria-hidden": "true" }) };
      parts.value.append(parts.number, parts.unit);
      box.append(make("dt", "", title), parts.value, parts.under, parts.svg);
      byId("tiles").append(box);
      tiles.set(key, parts);
    }

    function showTile(key, value, under, unit = "") {
      const parts = tiles.get(key);
      put(parts.number, value);
      put(parts.unit, unit === "" ? "" : ` ${unit}`);
      put(parts.under, under);
      spark(parts.svg, points, key);
    }

    function showTiles(reading) {
      const now = points.at(-1);
      const perSecond = (key, word) => `${number(now[key])} ${word}`;
      const accepted = rate(reading, "handshakes_total", { result: "accepted" });
      const tunnels = reading.sum("tunnels_open");
      showTile("sockets", number(now.sockets), `${number(accepted)} opened/s` +
        (tunnels > 0 ? `, ${number(tunnels)} tunnelled` : ""));
      showTile("connections", number(now.connections), "of clients; " +
        `${number(reading.sum("backend_connections"))} to backends`);
      const broken = reading.sum("responses_total", { class: "5xx" });
      showTile("requests", number(now.requests), `${number(broken)} answered 5xx since the start`);
      showTile("messages", number(now.messages), perSecond("fromClients", "from clients") + ", " +
        perSecond("fromBackends", "from backends"));
      const [size, unit] = bytes(now.bytes);
      showTile("bytes", size, `${bytes(now.up).join(" ")} from clients, ` +
        `${bytes(now.down).join(" ")} from backends`, unit);
      const recent = points.reduce((sum, { refused }) => sum + (refused ?? 0), 0);
      const worst = refusals(reading).sort((one, other) => other.value - one.value)[0];
      showTile("refused", number(recent), now.refusedSoFar === 0
        ? "none since the start" : `${number(now.refusedSoFar)} since the start, most: ${worst.labels.result.replace(/_/g, " ")}`);
    }

    function showAbout(reading) {
      const cpu = rate(reading, "process_cpu_seconds_total");
      const started = reading.sum("process_start_time_seconds");
      const size = bytes(reading.sum("process_resident_memory_bytes")).join(" ");
      put(byId("about"), [
        reading.all("build_info")[0]?.labels.version ?? "",
        `up ${duration(Date.now() / 1000 - started)}`, size,
        cpu === null ? "" : `${Math.round(cpu * 100)} % of a core`,
      ].filter((part) => part !== "").join(" \u00b7 "));
    }

    // Tables

    // Keeps rows by key, and so what is focused or selected in them. `update`: into a row.
    function showRows(body, items, keyOf, create, update) {
      body.rowsByKey ??= new Map();
      const kept = body.rowsByKey;
      const keys = new Set(items.map(keyOf));
      for (const [key, row] of kept) {
        if (keys.has(key)) continue;
        if (row.element.contains(document.activeElement)) body.closest(".scroll").focus();
        row.element.remove();
        kept.delete(key);
      }
      for (const item of items) {
        let row = kept.get(keyOf(item));
        if (!row) {
          row = create(item);
          kept.set(keyOf(item), row);
          body.append(row.element);
        }
        update(row, item);
      }
    }

    function rowOf(names, heading) {
      const row = { element: make("tr") };
      row.element.setAttribute("role", "row");
      for (const [key, className] of names) {
        row[key] = make(key === heading ? "th" : "td", className);
        row[key].setAttribute("role", key === heading ? "rowheader" : "cell");
        if (key === heading) row[key].scope = "row";
        row.element.append(row[key]);
      }
      return row;
    }

    function showRoutes(reading) {
      const items = reading.all("route_requests_total").map(({ labels, value }) =>
        ({ labels, value, open: reading.sum("route_websockets_open", labels) }));
      const most = Math.max(...items.map(({ open }) => open), 1);
      const create = ({ labels }) => {
        const row = rowOf([["name", "name code"], ["open", "number"], ["rate", "number"],
          ["all", "number narrow-out"]], "name");
        const bar = make("div", "bar");
        row.part = bar.appendChild(make("i"));
        row.name.append(labels.route, bar);
        return row;
      };
      showRows(byId("routes"), items, ({ labels }) => labels.route, create, (row, item) => {
        row.part.style.width = `${item.open / most * 100}%`;
        put(row.open, number(item.open));
        put(row.rate, number(rate(reading, "route_requests_total", item.labels)));
        put(row.all, number(item.value));
      });
      showChoices("route", items.map(({ labels }) => labels.route));
    }

    function showEndpoints(reading) {
      const items = reading.all("endpoint_in_use");
      const create = ({ labels }) => {
        const row = rowOf([["name", "name"], ["state", ""], ["used", "number"],
          ["rate", "number narrow-out"], ["failures", "number"]], "name");
        const upstream = make("span", "under", labels.upstream);
        row.name.append(make("span", "code", labels.endpoint), upstream);
        row.pill = row.state.appendChild(make("span", "pill"));
        return row;
      };
      const key = ({ labels }) => `${labels.upstream} ${labels.endpoint}`;
      showRows(byId("endpoints"), items, key, create, (row, { labels, value }) => {
        const state = reading.all("endpoint_state", labels).find((one) => one.value > 0);
        const word = state?.labels.state ?? "unknown";
        row.pill.dataset.state = word === "up" ? "good" : "bad";
        put(row.pill, word === "up" ? "up" : `out: ${word}`);
        put(row.used, number(value));
        put(row.rate, number(rate(reading, "endpoint_requests_total", labels)));
        const failures = reading.sum("endpoint_failures_total", labels);
        put(row.failures, number(failures));
        row.failures.classList.toggle("failed", failures > 0);
      });
      showChoices("endpoint", [...new Set(items.map(({ labels }) => labels.endpoint))]);
    }

    function showChoices(id, names) {
      const select = byId(id);
      const known = [...select.options].slice(1).map((option) => option.value);
      if (known.join("\n") === names.join("\n")) return;
      const chosen = select.value;
      const options = names.map((name) => new Option(name, name));
      select.replaceChildren(select.options[0], ...options);
      select.value = names.includes(chosen) ? chosen : "";
    }
    """#
}
