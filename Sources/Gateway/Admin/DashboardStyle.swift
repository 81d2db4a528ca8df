// How the dashboard looks, light and dark. Text keeps a contrast of 4.5 to what is behind it.

extension DashboardPage {
  static let style = #"""
    :root {
      --page: #f2f5f7; --card: #ffffff; --ink: #1a2731; --quiet: #55636f; --line: #dde4ea;
      --grid: #e8edf1; --field: #f7f9fb; --edge: #8595a2;
      --a: #2b6cb0; --b: #b0601a; --a-soft: #2b6cb024; --b-soft: #b0601a1f; --spark: #4a8f8a;
      --spark-soft: #4a8f8a26; --good: #17693a; --good-soft: #e2f3e8; --bad: #a8271f;
      --bad-soft: #fbe7e5; --warn: #7a5200; --warn-soft: #fbf0d6; --main: #245f9e;
      --on-main: #ffffff; --shadow: 0 1px 2px #1a273112;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --page: #10161c; --card: #19222b; --ink: #e4ebf1; --quiet: #9cabb8; --line: #2b3742;
        --grid: #26313b; --field: #121a21; --edge: #667786;
        --a: #7fb3ea; --b: #e5a867; --a-soft: #7fb3ea29; --b-soft: #e5a86724; --spark: #74bdb5;
        --spark-soft: #74bdb52e; --good: #7dd6a0; --good-soft: #1a3527; --bad: #ff9c93;
        --bad-soft: #402321; --warn: #f0c674; --warn-soft: #3a2f17; --main: #8cbcf0;
        --on-main: #0d2136; --shadow: none;
      }
    }
    * { box-sizing: border-box; }
    [hidden] { display: none !important; }
    html { overflow-y: scroll; }
    body {
      margin: 0; padding: 1.4rem 1.2rem 3rem; background: var(--page); color: var(--ink);
      font: 15px/1.45 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif;
    }
    main { max-width: 78rem; margin: 0 auto; display: grid; gap: 1rem; }
    #board { display: grid; gap: 1rem; min-width: 0; }
    header { display: flex; align-items: center; gap: 0.4rem 0.9rem; flex-wrap: wrap; }
    h1 { margin: 0; font-size: 1.5rem; letter-spacing: -0.02em; }
    h2 { margin: 0; font-size: 1rem; font-weight: 650; }
    p, dl, dd, ul { margin: 0; padding: 0; }
    .quiet { color: var(--quiet); }
    .small { font-size: 0.85rem; }
    .error { color: var(--bad); min-height: 1.45em; }
    .unseen {
      position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
      white-space: nowrap;
    }
    code, .code { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; }
    code, .code { font-size: 0.87em; }
    .card, .tile {
      background: var(--card); border: 1px solid var(--line); border-radius: 12px;
      box-shadow: var(--shadow); min-width: 0;
    }
    .card { padding: 1rem 1.1rem; display: grid; gap: 0.7rem; align-content: start; }
    .head { display: flex; flex-wrap: wrap; gap: 0.3rem 1rem; justify-content: space-between; }
    .pair { display: grid; gap: 1rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
    .pill {
      display: inline-block; padding: 0.08rem 0.65rem; border-radius: 99px;
      font-size: 0.85rem; font-weight: 600; white-space: nowrap; color: var(--warn);
      background: var(--warn-soft);
    }
    #about { margin-left: auto; font-variant-numeric: tabular-nums; }
    .pill[data-state="good"] { color: var(--good); background: var(--good-soft); }
    .pill[data-state="bad"] { color: var(--bad); background: var(--bad-soft); }

    .tiles { display: grid; gap: 1rem; grid-template-columns: repeat(6, minmax(0, 1fr)); }
    .tile { display: grid; grid-template-rows: auto auto auto 2.6rem; overflow: hidden; }
    .tile dt { padding: 0.8rem 1rem 0; color: var(--quiet); font-size: 0.88rem; }
    .tile .value {
      padding: 0 1rem; font-size: 1.9rem; line-height: 1.25; font-weight: 600;
      letter-spacing: -0.02em; font-variant-numeric: tabular-nums; white-space: nowrap;
    }
    .tile .value small { font-size: 0.95rem; font-weight: 500; letter-spacing: 0; }
    .tile .under {
      padding: 0 1rem; min-height: 2.7em; font-variant-numeric: tabular-nums;
    }
    .under { display: block; font-size: 0.8rem; font-weight: 400; color: var(--quiet); }
    .tile svg { display: block; width: 100%; height: 2.6rem; }
    .spark-line { fill: none; stroke: var(--spark); stroke-width: 1.5; }
    .spark-area { fill: var(--spark-soft); }

    .chart { display: block; width: 100%; height: 190px; touch-action: pan-y; }
    .chart text { fill: var(--quiet); font-size: 11px; font-variant-numeric: tabular-nums; }
    .chart .grid { stroke: var(--grid); }
    .chart .axis { stroke: var(--line); }
    .chart .cursor { stroke: var(--edge); }
    .chart .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
    .chart .line.a { stroke: var(--a); }
    .chart .line.b { stroke: var(--b); stroke-dasharray: 5 4; }
    .chart .area.a { fill: var(--a-soft); }
    .chart .area.b { fill: var(--b-soft); }
    .chart .dot.a { fill: var(--a); }
    .chart .dot.b { fill: var(--b); }
    .chart text.none { font-size: 13px; }
    .legend { display: flex; flex-wrap: wrap; gap: 0 1.1rem; list-style: none; }
    .legend { font-size: 0.88rem; font-variant-numeric: tabular-nums; color: var(--quiet); }
    .legend li::before {
      content: ""; display: inline-block; width: 1.2em; margin-right: 0.45em;
      vertical-align: 0.25em; border-top: 3px solid var(--a);
    }
    .legend li.b::before { border-top: 3px dashed var(--b); }
    .legend b { display: inline-block; min-width: 3.8em; color: var(--ink); }

    .scroll { overflow: auto; min-width: 0; border-radius: 6px; }
    .tall { min-height: 12rem; max-height: 34rem; }
    table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
    th, td { padding: 0.45rem 0.9rem 0.45rem 0; text-align: left; vertical-align: top; }
    th:last-child, td:last-child { padding-right: 0; }
    thead th {
      position: sticky; top: 0; z-index: 1; background: var(--card); font-size: 0.82rem;
      font-weight: 600; color: var(--quiet); border-bottom: 1px solid var(--line);
      white-space: nowrap; vertical-align: bottom;
    }
    tbody td, tbody th { border-bottom: 1px solid var(--grid); font-weight: 400; }
    tbody tr:last-child > * { border-bottom: 0; }
    .number { text-align: right; white-space: nowrap; }
    .name { overflow-wrap: anywhere; }
    .bar { height: 3px; margin-top: 0.3rem; border-radius: 2px; background: var(--grid); }
    .bar i { display: block; height: 100%; border-radius: 2px; background: var(--spark); }
    .failed { color: var(--bad); font-weight: 600; }
    .connections { table-layout: fixed; }
    .connections th:nth-child(1) { width: 10%; }
    .connections th:nth-child(3) { width: 13%; }
    .connections th:nth-child(4) { width: 9%; }
    .connections th:nth-child(5) { width: 11%; }
    .connections th:nth-child(6) { width: 14%; }
    .connections th:nth-child(7) { width: 14%; }
    .connections th:nth-child(8) { width: 4.6rem; }
    .connections td { padding-top: 0.5rem; padding-bottom: 0.5rem; }
    .empty { padding: 2.5rem 0; text-align: center; }

    .controls { display: flex; flex-wrap: wrap; gap: 0.7rem; align-items: end; }
    label { display: grid; gap: 0.2rem; font-size: 0.85rem; color: var(--quiet); }
    .controls label { flex: 1 1 11rem; min-width: 0; }
    .controls label.wide { flex: 3 1 16rem; }
    input, select, button { font: inherit; font-size: 0.95rem; border-radius: 8px; min-width: 0; }
    input, select {
      width: 100%; height: 2.3rem; padding: 0 0.6rem; color: var(--ink); background: var(--field);
      border: 1px solid var(--edge);
    }
    button {
      padding: 0.42rem 0.9rem; font-weight: 600; cursor: pointer; color: var(--ink);
      background: var(--card); border: 1px solid var(--edge);
    }
    button:hover { background: var(--page); }
    button.main { color: var(--on-main); background: var(--main); border-color: var(--main); }
    button.danger { color: var(--bad); background: var(--bad-soft); border-color: var(--bad); }
    td button { padding: 0.15rem 0.7rem; font-size: 0.85rem; }
    :focus-visible { outline: 3px solid var(--a); outline-offset: 2px; }
    dialog {
      width: min(28rem, calc(100vw - 2rem)); padding: 1.3rem; color: var(--ink);
      background: var(--card); border: 1px solid var(--line); border-radius: 12px;
      box-shadow: 0 12px 40px #00000040;
    }
    dialog::backdrop { background: #0b121980; }
    dialog > * + * { margin-top: 0.9rem; }
    #ask-what { overflow-wrap: anywhere; }
    .buttons { display: flex; justify-content: end; gap: 0.7rem; }
    .notice {
      position: fixed; left: 50%; bottom: 1.2rem; transform: translateX(-50%); z-index: 2;
      max-width: calc(100vw - 2rem); padding: 0.6rem 1.1rem; border-radius: 9px;
      color: var(--card); background: var(--ink);
    }
    @media (max-width: 64rem) {
      .tiles { grid-template-columns: repeat(3, minmax(0, 1fr)); }
      .pair { grid-template-columns: minmax(0, 1fr); }
    }
    @media (max-width: 42rem) {
      #about { margin-left: 0; }
      body { padding: 0.9rem 0.7rem 3rem; }
      .tiles { gap: 0.6rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
      .card { padding: 0.8rem; }
      .tile dt { padding: 0.7rem 0.8rem 0; }
      .tile .value, .tile .under { padding-left: 0.8rem; padding-right: 0.8rem; }
      .tile .value { font-size: 1.6rem; }
      .narrow-out { display: none; }
      .connections thead { position: absolute; clip-path: inset(50%); height: 1px; }
      .connections, .connections tbody { display: block; }
      .connections tr {
        display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 0.15rem 0.8rem;
        padding: 0.6rem 0; border-bottom: 1px solid var(--grid);
      }
      .connections tbody td { padding: 0; border: 0; }
      .connections .narrow-out { display: none; }
      .connections .target { grid-area: 1 / 1; }
      .connections .end { grid-area: 1 / 2; }
      .connections .client { grid-area: 2 / 1; }
      .connections .client .under { display: inline; margin-left: 0.5em; }
      .connections .messages { grid-area: 2 / 2; font-size: 0.9rem; }
      .connections .messages::before { content: "messages "; color: var(--quiet); }
      th, td { padding-right: 0.6rem; }
      .number .under { white-space: normal; }
    }
    """#
}
