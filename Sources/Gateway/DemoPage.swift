// The web page of `bascule demo`: one self-contained document that opens a WebSocket through the
// gateway to the echo backend and shows what happens. Nothing from outside goes into it but two
// port numbers, and it writes what it receives as text only, never as markup.

/// Renders the demo page.
public enum DemoPage {
  /// The page connects to `ws://` at `httpPort` and `wss://` at `httpsPort` of the host it was
  /// loaded from. Text messages of the backend in JSON are understood where their `type` is
  /// `hello` (`via`: the Via field it saw) or `ping-report` (`sent`: Pings of the gateway so far,
  /// `roundTripMs`: the last); everything else is an echo or is shown as it came.
  public static func render(httpPort: UInt16, httpsPort: UInt16) -> [UInt8] {
    Array(document(httpPort: httpPort, httpsPort: httpsPort).utf8)
  }

  /// The path the page connects to.
  public static let socketPath = "/ws"

  /// For the page's Content-Security-Policy field: nothing is loaded from anywhere.
  public static let contentSecurityPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    + "connect-src ws: wss:; img-src data:; base-uri 'none'; form-action 'none'; "
    + "frame-ancestors 'none'"

  private static func document(httpPort: UInt16, httpsPort: UInt16) -> String {
    """
    <!doctype html>
    <html lang="en" data-http-port="\(httpPort)" data-https-port="\(httpsPort)" \
    data-path="\(socketPath)">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Bascule demo</title>
    <link rel="icon" href="data:,">
    <style>
    \(style)
    </style>
    </head>
    <body>
    \(markup)
    <script>
    \(script)
    </script>
    </body>
    </html>

    """
  }

  private static let style = #"""
    :root {
      --page: #f4f6f8; --card: #ffffff; --ink: #17212b; --quiet: #5a6875; --line: #d5dce3;
      --accent: #0b63ce; --accent-ink: #ffffff; --good: #14753c; --bad: #b3261e; --warn: #8a5a00;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --page: #0f151b; --card: #18212a; --ink: #e6edf3; --quiet: #9aa8b5; --line: #2e3a46;
        --accent: #6cb0ff; --accent-ink: #06203f; --good: #58d68d; --bad: #ff8a80; --warn: #f3c269;
      }
    }
    * { box-sizing: border-box; }
    body {
      margin: 0; padding: 2rem 1rem; background: var(--page); color: var(--ink);
      font: 16px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;
    }
    main { max-width: 56rem; margin: 0 auto; display: grid; gap: 1rem; }
    header { display: flex; align-items: baseline; gap: 1rem; flex-wrap: wrap; }
    h1 { margin: 0; font-size: 1.7rem; letter-spacing: -0.02em; }
    h2 { margin: 0; font-size: 1.05rem; }
    p { margin: 0; }
    a { color: var(--accent); }
    .quiet { color: var(--quiet); }
    .card {
      background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem;
      display: grid; gap: 0.8rem;
    }
    .row { display: flex; gap: 0.7rem; flex-wrap: wrap; align-items: center; }
    .spread { justify-content: space-between; }
    fieldset { border: 0; margin: 0; padding: 0; display: flex; gap: 1.2rem; flex-wrap: wrap; }
    legend { float: left; padding: 0; font-weight: 600; }
    label { display: inline-flex; gap: 0.4rem; align-items: center; }
    code, .log { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; }
    code { font-size: 0.92em; }
    input[type="text"] {
      flex: 1 1 14rem; min-width: 0; padding: 0.5rem 0.7rem; font: inherit; color: inherit;
      background: var(--page); border: 1px solid var(--line); border-radius: 7px;
    }
    button {
      padding: 0.5rem 1rem; font: inherit; font-weight: 600; border-radius: 7px; cursor: pointer;
      color: var(--ink); background: transparent; border: 1px solid var(--line);
    }
    button.main {
      color: var(--accent-ink); background: var(--accent); border-color: var(--accent);
    }
    button:disabled { opacity: 0.45; cursor: not-allowed; }
    :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
    .state { white-space: nowrap; }
    .state::before {
      content: ""; display: inline-block; width: 0.65em; height: 0.65em; margin-right: 0.45em;
      border-radius: 50%; background: var(--quiet);
    }
    .state[data-state="open"]::before { background: var(--good); }
    .state[data-state="busy"]::before { background: var(--warn); }
    dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 0.8rem; }
    dl, dd { margin: 0; }
    dt { color: var(--quiet); font-size: 0.85rem; }
    dd { font-size: 1.25rem; font-variant-numeric: tabular-nums; }
    .log {
      margin: 0; padding: 0; list-style: none; height: 22rem; overflow-y: auto; font-size: 0.86rem;
      border-top: 1px solid var(--line);
    }
    .log li {
      display: grid; grid-template-columns: 7.2rem 5.2rem 1fr; gap: 0.6rem; padding: 0.3rem 0.2rem;
      border-bottom: 1px solid var(--line); overflow-wrap: anywhere;
    }
    .log time { color: var(--quiet); }
    .log .kind { font-weight: 700; }
    .log .open { color: var(--good); }
    .log .broken, .log .error { color: var(--bad); }
    .log .sent, .log .received { color: var(--accent); }
    .log .ping { color: var(--warn); }
    @media (max-width: 34rem) { .log li { grid-template-columns: auto 1fr; }
      .log li span:last-child { grid-column: 1 / -1; } }
    """#

  private static let markup = #"""
    <main>
    <header>
    <h1>Bascule</h1>
    <p class="quiet">browser &rarr; gateway &rarr; echo backend, over a WebSocket</p>
    </header>
    <section class="card" aria-label="Connection">
    <div class="row spread">
    <fieldset>
    <legend>Address</legend>
    <label><input type="radio" name="scheme" value="ws" checked> <code id="ws-url"></code></label>
    <label><input type="radio" name="scheme" value="wss"> <code id="wss-url"></code></label>
    </fieldset>
    <output id="state" class="state" data-state="closed">not connected</output>
    </div>
    <div class="row">
    <button type="button" id="connect" class="main">Connect</button>
    <button type="button" id="close" disabled>Close Socket</button>
    </div>
    <form class="row" id="form">
    <label for="message">Message</label>
    <input type="text" id="message" value="Hello, backend" autocomplete="off" spellcheck="false">
    <button type="submit" id="send" class="main" disabled>Send</button>
    </form>
    <p class="quiet" id="advice">For <code>wss://</code> the demo made its own certificate, which your browser
    does not know: open <a id="https-link" target="_blank" rel="noopener"></a> first, accept the
    certificate there, and come back.</p>
    </section>
    <section class="card" aria-label="Figures">
    <dl>
    <div><dt>Messages sent</dt><dd id="count-sent">0</dd></div>
    <div><dt>Messages received</dt><dd id="count-received">0</dd></div>
    <div><dt>Last round trip</dt><dd id="rtt-last">&ndash;</dd></div>
    <div><dt>Longest round trip</dt><dd id="rtt-max">&ndash;</dd></div>
    <div><dt>Pings by the gateway</dt><dd id="pings">&ndash;</dd></div>
    </dl>
    <p class="quiet">The gateway pings both sides to keep the connection open. A browser answers
    pings by itself and does not show them to a page; the number here comes from the gateway.</p>
    </section>
    <section class="card" aria-labelledby="log-title">
    <div class="row spread">
    <h2 id="log-title">Communication Log</h2>
    <button type="button" id="clear">Clear</button>
    </div>
    <ol class="log" id="log" role="log" aria-labelledby="log-title" tabindex="0"></ol>
    </section>
    </main>
    """#

  private static let script = #"""
    "use strict";
    const page = document.documentElement.dataset;
    const byId = (id) => document.getElementById(id);
    const host = location.hostname;
    const urls = {
      ws: `ws://${host}:${page.httpPort}${page.path}`,
      wss: `wss://${host}:${page.httpsPort}${page.path}`,
    };
    const meanings = {
      1000: "normal", 1001: "going away", 1002: "protocol error", 1003: "unsupported data",
      1005: "no code given", 1006: "ended without a Close frame, or the handshake was refused",
      1007: "not UTF-8", 1008: "policy", 1009: "message too big", 1011: "internal error",
      1012: "restart", 1013: "try again later", 1014: "the backend failed",
    };
    const linesMax = 500;
    let socket = null;
    let waiting = [];
    let sent = 0, received = 0, longest = 0, openedAt = 0;

    function log(kind, text, look = kind) {
      const list = byId("log");
      const item = document.createElement("li");
      const time = document.createElement("time");
      const now = new Date();
      time.dateTime = now.toISOString();
      time.textContent = now.toTimeString().slice(0, 8) + "." +
        String(now.getMilliseconds()).padStart(3, "0");
      const label = document.createElement("span");
      label.className = `kind ${look}`;
      label.textContent = kind;
      const body = document.createElement("span");
      body.textContent = text;
      item.append(time, label, body);
      list.append(item);
      while (list.children.length > linesMax) list.firstChild.remove();
      list.scrollTop = list.scrollHeight;
    }

    function show(state, text) {
      byId("state").dataset.state = state;
      byId("state").textContent = text;
      byId("connect").disabled = state !== "closed";
      byId("close").disabled = state === "closed";
      byId("send").disabled = state !== "open";
      for (const radio of document.getElementsByName("scheme")) radio.disabled = state !== "closed";
    }

    const milliseconds = (span) => `${span.toFixed(span < 10 ? 2 : 1)} ms`;

    function connect() {
      const scheme = document.querySelector("input[name=scheme]:checked").value;
      const url = urls[scheme];
      const startedAt = performance.now();
      log("connect", url);
      try {
        socket = new WebSocket(url);
      } catch (error) {
        log("error", `${error.message} (a page loaded by https:// may use wss:// only)`);
        return;
      }
      socket.binaryType = "arraybuffer";
      waiting = [];
      let isOpen = false;
      show("busy", "connecting");
      socket.onopen = () => {
        isOpen = true;
        openedAt = performance.now();
        show("open", "connected");
        log("open", `after ${milliseconds(openedAt - startedAt)}`);
        byId("message").focus();
      };
      socket.onmessage = (event) => receive(event.data);
      socket.onerror = () => {
        if (isOpen) log("error", "the connection broke.");
        else explainFailure(scheme);
      };
      socket.onclose = (event) => {
        const meaning = meanings[event.code] ? `, ${meanings[event.code]}` : "";
        const reason = event.reason ? `, reason "${event.reason}"` : ", no reason";
        const clean = event.wasClean ? "clean" : "not clean";
        const isFine = event.wasClean && [1000, 1001, 1005].includes(event.code);
        log("close", `code ${event.code}${meaning}${reason}, ${clean}`, isFine ? "close" : "broken");
        socket = null;
        show("closed", "not connected");
      };
    }

    // A page is not told why a connection failed. If the gateway answers without TLS, it is the
    // certificate.
    function explainFailure(scheme) {
      const gone = () => log("error", "the gateway does not answer. Is the demo still running?");
      if (scheme === "ws" || location.protocol === "https:") return gone();
      const probe = new WebSocket(urls.ws);
      probe.onopen = () => {
        probe.close(1000);
        log("error", "the connection failed. Has this browser accepted the certificate?");
      };
      probe.onerror = gone;
    }

    function send(text) {
      if (!socket || socket.readyState !== WebSocket.OPEN) return;
      waiting.push({ text, at: performance.now() });
      socket.send(text);
      sent += 1;
      byId("count-sent").textContent = sent;
      log("sent", text === "" ? "(empty)" : text);
    }

    function receive(data) {
      const now = performance.now();
      received += 1;
      byId("count-received").textContent = received;
      if (typeof data !== "string") {
        log("received", `${data.byteLength} bytes of binary data`);
        return;
      }
      if (waiting.length > 0 && waiting[0].text === data) {
        const span = now - waiting.shift().at;
        longest = Math.max(longest, span);
        byId("rtt-last").textContent = milliseconds(span);
        byId("rtt-max").textContent = milliseconds(longest);
        log("received", `${data === "" ? "(empty)" : data}  (round trip ${milliseconds(span)})`);
        return;
      }
      const notice = parse(data);
      if (notice && notice.type === "ping-report") {
        byId("pings").textContent = String(notice.sent);
        const span = Number(notice.roundTripMs);
        const trip = Number.isFinite(span) ? `, last round trip ${milliseconds(span)}` : "";
        const pings = notice.sent === 1 ? "1 ping" : `${notice.sent} pings`;
        log("ping", `the gateway has sent ${pings}${trip}`);
      } else if (notice && notice.type === "hello") {
        const version = String(notice.via).split(",").pop().trim().split(" ")[0];
        log("received", `the backend greets; this browser came over HTTP/${version} ` +
          `(the backend sees Via: ${notice.via})`);
      } else {
        log("received", data);
      }
    }

    function parse(text) {
      if (!text.startsWith("{")) return null;
      try { return JSON.parse(text); } catch { return null; }
    }

    byId("ws-url").textContent = urls.ws;
    byId("wss-url").textContent = urls.wss;
    const link = byId("https-link");
    link.href = `https://${host}:${page.httpsPort}/`;
    link.textContent = link.href;
    if (location.protocol === "https:") {
      document.querySelector("input[value=wss]").checked = true;
      byId("advice").hidden = true;
    }
    byId("connect").addEventListener("click", connect);
    byId("close").addEventListener("click", () => {
      if (!socket) return;
      log("closing", "code 1000");
      show("busy", "closing");
      socket.close(1000, "closed by the page");
    });
    byId("form").addEventListener("submit", (event) => {
      event.preventDefault();
      send(byId("message").value);
    });
    byId("clear").addEventListener("click", () => byId("log").replaceChildren());
    show("closed", "not connected");
    """#
}
