"""The JSON Schema of `bascule reference --schema`, as an editor uses it: over what a YAML reader makes
of a file. Those of YAML 1.1 read `off` as false, those of 1.2 as a text, so both are asked."""

import json
import re
import subprocess

import jsonschema
import pytest
import ruamel.yaml
import yaml

from harness import BINARY, ROOT

SCHEMA = json.loads((ROOT / "conf/schema.json").read_text())
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)
GOLDEN = ROOT / "Tests/ConfigurationTests/Golden"
READERS = {"1.1": lambda text: yaml.load(text, yaml.CSafeLoader),
           "1.2": lambda text: ruamel.yaml.YAML(typ="safe", pure=True).load(text)}
SHIPPED = sorted((ROOT / "conf").glob("*.yaml")) + sorted((ROOT / "conf/examples").glob("*.yaml"))
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


def mistakes(text, version):
    return [f"{list(error.absolute_path)}: {error.message}"
            for error in VALIDATOR.iter_errors(READERS[version](text))]


def both(argument, values):
    """Every value with every reader."""
    cases = [(value, version) for value in values for version in READERS]
    names = [f"{getattr(value, 'name', value)}-{version}" for value, version in cases]
    return pytest.mark.parametrize(f"{argument}, version", cases, ids=names)


def reference(*flags):
    done = subprocess.run([BINARY, "reference", *flags], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0
    return done.stdout


def test_the_program_prints_the_schema_that_is_kept():
    text = reference("--schema")
    assert text == (ROOT / "conf/schema.json").read_text()
    assert text.startswith('{\n  "$schema": "http://json-schema.org/draft-07/schema#",\n')
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def properties(schema=SCHEMA, path=""):
    """(path, schema) of every key, in the order of the schema."""
    for name, below in schema.get("properties", {}).items():
        yield f"{path}.{name}", below
        yield from properties(below, f"{path}.{name}")
    for part in schema.get("anyOf", []):
        yield from properties(part, path)
    for key in ["items", "additionalProperties"]:
        if isinstance(schema.get(key), dict):
            yield from properties(schema[key], f"{path}[]")


def test_every_key_is_explained_in_the_order_of_the_reference_and_has_a_default_that_is_right():
    found = dict(properties())
    assert len(found) > 100
    for path, schema in found.items():
        assert schema["description"].strip(), path
        if "default" in schema:
            jsonschema.Draft7Validator(schema).validate(schema["default"])
    assert found[".timeouts.connect"]["default"] == "5s"
    assert found[".limits.handshakes"]["default"] == 1024
    # A route starts from the global ones, whatever they are.
    assert "default" not in found[".routes[].timeouts.connect"]
    assert list(SCHEMA["properties"]) == re.findall(r"^(\w+):", reference(), re.M)


def test_every_mapping_refuses_unknown_keys_or_has_names_of_the_writer():
    def check(schema):
        if "object" in schema.get("type", ""):
            names = isinstance(schema["additionalProperties"], dict)
            assert names or schema["additionalProperties"] is False
            assert names == ("propertyNames" in schema) == ("properties" not in schema)
        for below in schema.values():
            for part in below if isinstance(below, list) else [below]:
                if isinstance(part, dict):
                    check(part)
    check(SCHEMA)


@both("path", SHIPPED + sorted(GOLDEN.glob("good-*.yaml")))
def test_what_is_right_is_taken(path, version):
    assert mistakes(path.read_text(), version) == []


@both("number", range(len(BLOCKS)))
def test_what_the_first_page_shows_is_taken(number, version):
    assert mistakes(BLOCKS[number], version) == []


# A key that is given twice is refused by the readers themselves.
@both("path", [path for path in sorted(GOLDEN.glob("bad-*.yaml")) if "duplicates" not in path.name])
def test_what_is_wrong_is_refused(path, version):
    assert mistakes(path.read_text(), version) != []


GOOD = """\
listeners: [{bind: "127.0.0.1:0"}]
upstreams: {a: {endpoints: ["127.0.0.1:1"]}}
routes: [{upstream: a}]
"""
ENDPOINT, BIND, ROUTE = '"127.0.0.1:1"', 'bind: "127.0.0.1:0"', "upstream: a}"


def changed(change):
    """The text with a line more, or with `old` replaced."""
    if isinstance(change, str):
        return GOOD + change + "\n"
    assert change[0] in GOOD
    return GOOD.replace(*change)


def is_taken_by_program(text, tmp_path):
    path = tmp_path / "bascule.yaml"
    path.write_text(text)
    done = subprocess.run([BINARY, "check", "--running", "--config", path], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode in (0, 78)
    return done.returncode == 0


def route(text):
    return (ROUTE, f"upstream: a, {text}}}")


def upstream(text):
    return (ENDPOINT + "]", f"{ENDPOINT}], {text}")


RIGHT = [
    "workers: auto", "workers: 4", "workers: '4'", "workers: ${N:-4}", "workers: 1024", "limits:",
    "log: {access: off}", "log: {access: no}", "log: {access: false}", "log: {access: 'off'}",
    "log: {access: \"${X:-off}\"}", "log: {access: a.log}", "log: {access: /tmp/a}",
    "limits: {request_body: off}", "limits: {request_body: 512}",
    "limits: {request_body: 1MiB}", "limits: {per_address: 5}", "timeouts: {connect: 250ms}",
    "timeouts: {connect: \"${X:-1}s\"}", "trusted_proxies: [10.0.0.0/8, '::1']", "trusted_proxies:",
    upstream("forwarded: yes"), upstream("forwarded: ON"), upstream("forwarded: 'False'"),
    upstream("host: endpoint"), upstream("host: name.example:80"), upstream("health: {expect: 204}"),
    upstream("health: {expect: 200-299}"), upstream("balance: hash, hash: cookie a"),
    (ENDPOINT, "{address: '127.0.0.1:1', weight: 2, max_connections: no}"), (ENDPOINT, "'[::1]:1'"),
    route("path: = /a"), route("host: '*.a.example'"), route("origins: {}"),
    route("origins: {allow: [any, 'null', same-origin, 'https://*.a.example:1']}"),
    route("headers: {request: {set: {X-A: 1, X-B: yes, X-C: ''}}}"), route("websocket: {mode: off}"),
    route("websocket: {keepalive: {interval: off}}"), (ROUTE, "redirect: https}"),
    (ROUTE, "redirect: {to: '/a?b', status: 301}, path: /c}"), (ROUTE, "redirect: 'https:8443'}"),
    (ROUTE, "respond: {status: 204}}"), (ROUTE, "respond: {status: '503', body: yes}}"),
]
WRONG = [
    "wrokers: 1", "workers: many", "workers: 0", "workers: 1025", "workers: [1]", "workers:",
    "workers: 1.5", "workers: -1", "log: {level: loud}", "log: {access: true}", "log: {access: on}",
    "log: {access: stdot}", "log: {access: [a.log]}",
    "log: {acess: off}", "log: json", "timeouts: {connect: 5}", "timeouts: {connect: 5sec}",
    "timeouts: {connect: }", "timeouts: 5s", "limits: {request_head: 32kb}", "limits: {request_head: 1}",
    "limits: {handshakes: off}", "trusted_proxies: 10.0.0.0/8", "trusted_proxies: [nowhere]",
    "include: conf.d", (BIND, "backlog: 1"), (BIND, "bind: 8080"), (BIND, "bind: 0.0.0.0"),
    (BIND, BIND + ", protocols: []"), (BIND, BIND + ", protocols: [h3]"), (BIND, BIND + ", tls: true"),
    (BIND, BIND + ", tls: "), (BIND, BIND + ", tls: {}"), ("[{" + BIND + "}]", "[]"),
    ("{a: ", "{a b: "), (ENDPOINT, "{weight: 1}"), (ENDPOINT, "[" + ENDPOINT + "]"),
    (ENDPOINT, "'http://127.0.0.1:1'"), (ENDPOINT, "{address: '127.0.0.1:1', weight: 101}"),
    upstream("balance: fastest"), upstream("forwarded: maybe"), upstream("hash: header"),
    upstream("sticky: "), upstream("health: {expect: 2xx}"), upstream("proxy_protocol: v3"),
    route("timeouts: {drain: 5s}"), route("limits: {handshakes: 5}"), route("path: a"),
    route("host: a:80"), route("origins: {allow: any}"), route("origins: {allow: [app.example]}"),
    route("headers: {request: {set: [X-A]}}"), route("headers: {request: {set: {X Y: z}}}"),
    route("websocket: {mode: on}"), (ROUTE, "redirect: htps}"), (ROUTE, "redirect: {status: 302}}"),
    (ROUTE, "redirect: {to: https, status: 304}}"), (ROUTE, "respond: {status: 301}}"),
]


@both("change", RIGHT)
def test_the_schema_takes_what_the_program_takes(change, version, tmp_path):
    text = changed(change)
    assert mistakes(text, version) == []
    assert is_taken_by_program(text, tmp_path)


@both("change", WRONG)
def test_the_schema_refuses_what_the_program_refuses(change, version, tmp_path):
    text = changed(change)
    assert mistakes(text, version) != []
    assert not is_taken_by_program(text, tmp_path)


@pytest.mark.parametrize("version", READERS)
def test_names_may_look_like_numbers(version, tmp_path):
    text = GOOD.replace("{a: ", "{1: ").replace("upstream: a", "upstream: 1")
    assert mistakes(text, version) == [] and is_taken_by_program(text, tmp_path)


@pytest.mark.parametrize("key", ["listeners", "upstreams", "routes"])
def test_what_is_required_may_come_from_an_included_file(key):
    lines = "".join(line for line in GOOD.splitlines(True) if not line.startswith(key))
    assert key in mistakes(lines, "1.2")[0]
    assert mistakes("include: [conf.d/*.yaml]\n" + lines, "1.2") == []


def offers(schema, value, path=()):
    """(path, what editors offer there) for every single value of a file."""
    for part in schema.get("anyOf", [schema]):
        if not isinstance(value, (dict, list)):
            bounds = [part[key] for key in ["minimum", "maximum"] if key in part]
            yield path, part.get("enum", []) + bounds
        elif isinstance(value, dict) and "object" in part.get("type", ""):
            known = part.get("properties", {})
            for name, below in value.items():
                yield from offers(known.get(name) or part["additionalProperties"], below, (*path, name))
        elif isinstance(value, list) and "array" in part.get("type", ""):
            for index, below in enumerate(value):
                yield from offers(part["items"], below, (*path, index))


def test_the_program_takes_every_word_and_bound_that_editors_offer(tmp_path):
    tree = yaml.safe_load(reference().replace("chat.internal:", "127.0.0.1:"))
    del tree["include"]
    found = {}
    for where, values in offers(SCHEMA, tree):
        found.setdefault(where, []).extend(values)
    assert sum(len(values) for values in found.values()) > 140
    path = tmp_path / "bascule.yaml"
    for number in range(max(len(values) for values in found.values())):
        for where, values in found.items():
            place = tree
            for step in where[:-1]:
                place = place[step]
            if values:
                place[where[-1]] = values[min(number, len(values) - 1)]
        path.write_text(json.dumps(tree))
        done = subprocess.run([BINARY, "check", "--running", "--config", path], capture_output=True,
                              text=True, timeout=20)
        # Files that are not there and keys that do not go together are told in other words.
        assert not re.search(r'"[^"]*" is not |out of range|expected ', done.stderr), done.stderr
