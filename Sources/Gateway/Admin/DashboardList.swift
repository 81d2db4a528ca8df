// The last part of the dashboard's script: the connections, closing one, the token, the loop.

extension DashboardPage {
  static let listScript = #"""
    // Connections

    const isAddress = (text) =>
      /^\d{1,3}(\.\d{1,3}){3}$/.test(text) || /^[0-9a-f]*:[0-9a-f:.]*:[0-9a-f.]*$/i.test(text);
    const isWebSocket = ({ phase }) => phase === "bridge" || phase === "tunnel";
    const phases = { bridge: "WebSocket", tunnel: "WebSocket, tunnelled", connecting: "connecting",
      awaiting: "awaits its answer", relaying: "request" };

    let question = 0;

    async function readConnections() {
      question += 1;
      const asked = question;
      const text = byId("text").value.trim().toLowerCase();
      const query = new URLSearchParams();
      for (const id of ["route", "endpoint"]) if (byId(id).value) query.set(id, byId(id).value);
      if (isAddress(text)) query.set("client", text);
      const searches = text !== "" && !isAddress(text);
      if (searches) query.set("limit", String(searchedMax));
      const { connections, next } = JSON.parse(await ask(`/connections?${query}`));
      // Something else has been asked for meanwhile.
      if (asked !== question) return;
      const found = searches ? connections.filter((one) => holds(one, text)) : connections;
      showConnections(found, next !== null, query.size > 0, searches);
    }

    // What refuses the token ends the loop; anything else passes.
    async function refreshConnections() {
      try {
        await readConnections();
      } catch (error) {
        if (error instanceof Refused && error.status === 401) throw error;
        put(byId("list-count"), "could not be read");
      }
    }

    function holds(one, text) {
      return [one.id, one.client, one.host, one.path, one.origin, one.host + one.path]
        .some((value) => value !== undefined && value.toLowerCase().includes(text));
    }

    function showConnections(found, isMore, isFiltered, searches) {
      const shown = found.slice(0, shownMax);
      showRows(byId("connections"), shown, ({ id }) => id, makeConnection, updateConnection);
      const where = searches && isMore ? ` in the first ${number(searchedMax)}` : "";
      if (found.length > shownMax || isMore && !searches) {
        put(byId("list-count"), `the first ${shown.length}; there are more`);
      } else {
        put(byId("list-count"), where === "" ? `${shown.length} shown` : `${shown.length} found${where}`);
      }
      byId("list-empty").hidden = shown.length > 0;
      put(byId("list-empty"), isFiltered ? `Nothing matches${where}.` : "Nothing is open.");
    }

    function makeConnection(one) {
      const row = rowOf([["client", "name client"], ["target", "name target"],
        ["endpoint", "name narrow-out code"], ["age", "number narrow-out"],
        ["messages", "number messages"], ["bytes", "number narrow-out"],
        ["trips", "number narrow-out"], ["end", "number end"]]);
      row.element.dataset.id = one.id;
      const tls = one.tls ? `, TLS ${one.tls}` : "";
      row.client.append(one.client, make("span", "under", one.protocol + tls));
      row.phase = make("span", "under");
      row.target.append(make("span", "code", one.host + one.path), row.phase);
      row.button = make("button", "", "Close");
      row.button.type = "button";
      row.button.setAttribute("aria-label", `Close ${one.client} at ${one.host}${one.path}`);
      row.button.addEventListener("click", () => askToClose(one));
      row.end.append(row.button);
      return row;
    }

    function updateConnection(row, one) {
      const pair = (first, second) => `${first} / ${second}`;
      const word = phases[one.phase] ?? one.phase;
      put(row.phase, one.route ? `${word} on ${one.route}` : word);
      put(row.endpoint, one.endpoint ?? "\u2013");
      put(row.age, duration(one.age_ms / 1000));
      put(row.messages, one.phase === "bridge"
        ? pair(number(one.client_messages), number(one.backend_messages)) : "\u2013");
      put(row.bytes, pair(bytes(one.client_bytes).join(" "), bytes(one.backend_bytes).join(" ")));
      put(row.trips, one.client_rtt_ms === undefined && one.backend_rtt_ms === undefined
        ? "\u2013" : pair(trip(one.client_rtt_ms), trip(one.backend_rtt_ms)));
      row.button.hidden = !isWebSocket(one);
    }

    // Closing

    let chosen = null;

    function askToClose(one) {
      chosen = one;
      put(byId("ask-what"), `${one.client} at ${one.host}${one.path}`);
      byId("ask").showModal();
    }

    async function close() {
      const { id } = chosen;
      byId("ask").close();
      try {
        await ask(`/connections/${encodeURIComponent(id)}?code=${byId("ask-code").value}`,
          { method: "DELETE", headers: { "X-Bascule": "dashboard" } });
        tell("It is closing.");
      } catch (error) {
        tell(error instanceof Refused ? error.message : "The gateway did not answer.");
      }
    }

    let noticeTimer = null;

    function tell(text) {
      put(byId("notice"), text);
      byId("notice").hidden = false;
      clearTimeout(noticeTimer);
      noticeTimer = setTimeout(() => { byId("notice").hidden = true; }, 4_000);
    }

    // The loop

    const messagesChart = new Chart("messages", [
      { key: "fromClients", name: "clients", look: "a", filled: true },
      { key: "fromBackends", name: "backends", look: "b" },
    ], linear, number, "Nothing measured yet");
    const tripsChart = new Chart("trips", [
      { key: "clientTrip", name: "clients", look: "a", upper: "clientMost" },
      { key: "backendTrip", name: "backends", look: "b", upper: "backendMost" },
    ], logarithmic, trip, "No pings in the last 2 minutes");

    function show(reading) {
      points.push(pointOf(reading));
      points = points.filter(({ at }) => at > reading.at - shownMs);
      byId("login").hidden = true;
      byId("board").hidden = false;
      showTiles(reading);
      showAbout(reading);
      messagesChart.show(points);
      tripsChart.show(points);
      showRoutes(reading);
      showEndpoints(reading);
      previous = reading;
    }

    function state(look, text) {
      byId("state").dataset.state = look;
      put(byId("state"), text);
    }

    function failed(error) {
      previous = null;
      if (error instanceof Refused && error.status === 401) {
        put(byId("login-error"), token === "" ? "" : "That is not the token.");
        token = "";
        byId("login").hidden = false;
        byId("board").hidden = true;
        state("busy", "needs a token");
        byId("token").focus();
        return false;
      }
      // A gap in the charts.
      if (points.length > 0 && points.at(-1).sockets !== null) {
        const gap = Object.fromEntries(Object.keys(points[0]).map((key) => [key, null]));
        points.push({ ...points.at(-1), ...gap, at: Date.now(),
          refusedSoFar: points.at(-1).refusedSoFar });
      }
      state("bad", error instanceof Refused ? error.message : "no answer");
      return true;
    }

    async function tick() {
      const startedAt = Date.now();
      let goesOn = true;
      try {
        const reading = new Reading(await ask("/metrics"));
        show(reading);
        if (!document.hidden) await refreshConnections();
        if (reading.sum("draining") > 0) state("busy", "draining");
        else state("good", "live");
      } catch (error) {
        goesOn = failed(error);
      }
      if (goesOn) setTimeout(tick, Math.max(100, everyMs - (Date.now() - startedAt)));
    }

    tile("sockets", "WebSockets open");
    tile("connections", "Connections");
    tile("requests", "Requests/s");
    tile("messages", "Messages/s");
    tile("bytes", "Bytes/s");
    tile("refused", "Refused, last 2 min");
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("filters").addEventListener("input", () => refreshConnections().catch(() => {}));
    byId("ask-no").addEventListener("click", () => byId("ask").close());
    byId("ask-yes").addEventListener("click", close);
    byId("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      token = byId("token").value;
      byId("token").value = "";
      tick();
    });
    tick();
    """#
}
