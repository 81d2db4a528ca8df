// The page of the admin listener for people: one self-contained document that reads `/metrics` and
// `/connections` of the listener it came from. It holds no data itself, so that it needs no token;
// what it reads does. It writes what it receives as text only, never as markup.

import Bytes
import TLS

enum DashboardPage {
  static let bytes = Array(document.utf8)

  /// Nothing is loaded from anywhere, and only the page's own style and script count, by hashes.
  static let contentSecurityPolicy =
    "default-src 'none'; style-src '\(hash(style))'; script-src '\(hash(allScript))'; "
    + "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    + "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

  private static let allScript = [chartScript, script, listScript].joined(separator: "\n")

  private static func hash(_ text: String) -> String {
    let digest = Digest.sha256(Array(text.utf8).span)
    return "sha256-" + String(decoding: Digest.base64(digest.span), as: UTF8.self)
  }

  private static let document = """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Bascule</title>
    <link rel="icon" href="data:,">
    <style>\(style)</style>
    </head>
    <body>
    \(markup)
    <script>\(allScript)</script>
    </body>
    </html>

    """

  private static let markup = #"""
    <main>
    <header>
    <h1>Bascule</h1>
    <p id="state" class="pill" data-state="busy" role="status">connecting</p>
    <p id="about" class="quiet"></p>
    </header>

    <section id="login" class="card" aria-labelledby="login-title" hidden>
    <h2 id="login-title">Token</h2>
    <p class="quiet">This listener has a token: <code>admin.token</code> of the configuration. The
    page keeps it until it is closed or loaded again, and nowhere else.</p>
    <form id="login-form" class="controls">
    <label class="wide">Token <input type="password" id="token" autocomplete="off" required></label>
    <button type="submit" class="main">Show</button>
    </form>
    <p id="login-error" class="error" role="alert"></p>
    </section>

    <div id="board" hidden>
    <section aria-labelledby="now-title">
    <h2 id="now-title" class="unseen">Now</h2>
    <dl class="tiles" id="tiles"></dl>
    </section>

    <div class="pair">
    <section class="card" aria-labelledby="messages-title">
    <div class="head"><h2 id="messages-title">Messages per second</h2>
    <ul class="legend" id="messages-legend"></ul></div>
    <svg class="chart" id="messages-chart" role="img" aria-labelledby="messages-title"></svg>
    <p class="quiet small">By who sent them, of all WebSockets that are not tunnelled.</p>
    </section>
    <section class="card" aria-labelledby="trips-title">
    <div class="head"><h2 id="trips-title">Ping round trip</h2>
    <ul class="legend" id="trips-legend"></ul></div>
    <svg class="chart" id="trips-chart" role="img" aria-labelledby="trips-title"></svg>
    <p class="quiet small">Of the gateway's own pings: the line is the mean of 30 seconds, the
    band goes up to where 95&nbsp;% of them are within.</p>
    </section>
    </div>

    <div class="pair">
    <section class="card" aria-labelledby="routes-title">
    <h2 id="routes-title">Routes</h2>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="routes-title">
    <table><thead><tr><th scope="col">Route</th><th scope="col" class="number">WebSockets</th>
    <th scope="col" class="number">Requests/s</th>
    <th scope="col" class="number narrow-out">Requests</th></tr></thead>
    <tbody id="routes"></tbody></table>
    </div>
    </section>
    <section class="card" aria-labelledby="endpoints-title">
    <h2 id="endpoints-title">Endpoints</h2>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="endpoints-title">
    <table><thead><tr><th scope="col">Endpoint</th><th scope="col">State</th>
    <th scope="col" class="number">In use</th>
    <th scope="col" class="number narrow-out">Requests/s</th>
    <th scope="col" class="number">Failures</th></tr></thead>
    <tbody id="endpoints"></tbody></table>
    </div>
    </section>
    </div>

    <section class="card" aria-labelledby="list-title">
    <div class="head"><h2 id="list-title">Connections</h2>
    <p id="list-count" class="quiet"></p></div>
    <form class="controls" id="filters">
    <label class="wide">Search <input type="search" id="text" autocomplete="off"
    spellcheck="false" aria-describedby="text-hint"></label>
    <label>Route <select id="route"><option value="">all</option></select></label>
    <label>Endpoint <select id="endpoint"><option value="">all</option></select></label>
    </form>
    <p id="text-hint" class="quiet small">Looks at ids, addresses, hosts, paths and origins of the
    first 1,000; a whole address of a client finds all of its connections.</p>
    <div class="scroll tall" id="list" tabindex="0" role="region" aria-labelledby="list-title">
    <table class="connections" role="table"><thead role="rowgroup"><tr role="row">
    <th role="columnheader" scope="col">Client</th>
    <th role="columnheader" scope="col">Asked for</th>
    <th role="columnheader" scope="col" class="narrow-out">Endpoint</th>
    <th role="columnheader" scope="col" class="number narrow-out">Open for</th>
    <th role="columnheader" scope="col" class="number">Messages
    <span class="under">client / backend</span></th>
    <th role="columnheader" scope="col" class="number narrow-out">Bytes
    <span class="under">client / backend</span></th>
    <th role="columnheader" scope="col" class="number narrow-out">Round trip
    <span class="under">client / backend</span></th>
    <th role="columnheader" scope="col"><span class="unseen">Close</span></th></tr></thead>
    <tbody id="connections" role="rowgroup"></tbody></table>
    <p id="list-empty" class="quiet empty" hidden></p>
    </div>
    </section>
    </div>
    <p id="notice" class="notice" role="status" hidden></p>
    </main>

    <dialog id="ask" aria-labelledby="ask-title">
    <h2 id="ask-title">Close this WebSocket?</h2>
    <p id="ask-what"></p>
    <label>Code its client gets <select id="ask-code">
    <option value="1001">1001, going away</option>
    <option value="1000">1000, normal</option>
    <option value="1008">1008, policy</option>
    <option value="1012">1012, restart: come back</option>
    <option value="1013">1013, try again later</option>
    </select></label>
    <div class="buttons">
    <button type="button" id="ask-no">Keep it</button>
    <button type="button" id="ask-yes" class="danger">Close it</button>
    </div>
    </dialog>
    """#
}
