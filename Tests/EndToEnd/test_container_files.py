"""The files of docker/: read, compared with what they promise, and their configurations run through the
gateway. The image itself is built by Tests/Image/run.py."""

import json
import re
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

import frames
from frames import TEXT
from harness import BINARY, ROOT, RawBackend, free_port, raw_echo, run_gateway

DOCKER = ROOT / "docker"
#: The oldest that is still common, and what is new.
KUBERNETES = ["1.28", kubernetes_validate.latest_version()]


def stages(path):
    """[(base, name, [(WORD, rest)])] and the ARGs before the first."""
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = [line.split(None, 1) for line in text.splitlines()
             if line.strip() and not line.lstrip().startswith("#")]
    arguments = {}
    found = []
    for word, rest in lines:
        if word == "ARG" and not found:
            name, value = rest.split("=", 1)
            arguments[name] = value
        elif word == "FROM":
            parts = rest.split()
            found.append((parts[0], parts[2] if len(parts) > 2 else None, []))
        else:
            found[-1][2].append((word, rest))
    return found, arguments


def words(stage, name):
    return [rest for word, rest in stage[2] if word == name]


def test_the_image_is_built_in_one_stage_and_run_in_another():
    found, arguments = stages(DOCKER / "Dockerfile")
    (build, build_name, _), (base, _, _) = found
    assert build == "${SWIFT_IMAGE}" and base == "${RUNTIME_IMAGE}"
    assert re.fullmatch(r"swift:6\.\d+\.\d+-bookworm", arguments["SWIFT_IMAGE"])
    assert re.fullmatch(r"debian:bookworm-20\d{6}-slim", arguments["RUNTIME_IMAGE"])
    assert any("--static-swift-stdlib" in rest for rest in words(found[0], "RUN"))
    assert words(found[1], "COPY") == [f"--from={build_name} /out/ /"]
    installed = " ".join(words(found[1], "RUN"))
    for package in ("libssl3", "libnghttp2-14", "libyaml-0-2", "ca-certificates"):
        assert package in installed
    assert "-dev" not in installed and "rm -rf /var/lib/apt/lists" in installed


def test_the_image_runs_as_a_number_and_ends_and_is_asked_as_it_should():
    found, _ = stages(DOCKER / "Dockerfile")
    (user,) = words(found[1], "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert words(found[1], "STOPSIGNAL") == ["SIGTERM"]
    (health,) = words(found[1], "HEALTHCHECK")
    assert json.loads(health.split("CMD", 1)[1]) == ["/usr/local/bin/bascule", "health"]
    assert json.loads(words(found[1], "ENTRYPOINT")[0]) == ["/usr/local/bin/bascule"]
    assert json.loads(words(found[1], "CMD")[0]) == ["run"]


def test_the_image_and_the_unit_set_the_allocator_alike():
    found, _ = stages(DOCKER / "Dockerfile")
    unit = (ROOT / "conf/systemd/bascule.service").read_text().splitlines()
    set_by_unit = [line.split("=", 1)[1] for line in unit if line.startswith("Environment=")]
    assert words(found[1], "ENV") == set_by_unit == ["GLIBC_TUNABLES=glibc.malloc.tcache_count=127"]


def test_what_is_sent_to_the_engine_holds_what_the_build_copies():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert {"Package.swift", "Sources", "Tests", "docker/bascule.yaml"} == set(kept)
    assert all((ROOT / path).exists() for path in kept)


def test_the_backend_of_compose_is_pinned_and_no_root():
    found, arguments = stages(DOCKER / "backend/Dockerfile")
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-bookworm", arguments["PYTHON_IMAGE"])
    assert re.search(r"websockets==\d", words(found[0], "RUN")[0])
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", words(found[0], "USER")[0])


def test_compose_runs_it_as_it_should_be_run():
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    gateway = compose["services"]["gateway"]
    wanted = {"stop_grace_period": "45s", "read_only": True, "cap_drop": ["ALL"],
              "security_opt": ["no-new-privileges:true"], "restart": "unless-stopped"}
    assert {name: gateway.get(name) for name in wanted} == wanted
    assert gateway["ulimits"]["nofile"]["soft"] >= 100_000
    assert (DOCKER / gateway["build"]["context"] / gateway["build"]["dockerfile"]).is_file()
    assert (DOCKER / compose["services"]["backend"]["build"]["context"] / "Dockerfile").is_file()
    for volume in gateway["volumes"]:
        source, _, mode = volume.split(":")
        assert (DOCKER / source).is_file() and mode == "ro"
    drain = configuration_of((DOCKER / "bascule.yaml").read_text())["timeouts"]["drain"]
    assert int(drain.rstrip("s")) < int(gateway["stop_grace_period"].rstrip("s"))


def configuration_of(text):
    return yaml.safe_load(text)


def moved(text, ports):
    """The configuration with free ports of loopback in place of its own."""
    for port in re.findall(r"(?:0\.0\.0\.0|127\.0\.0\.1):(?:8080|8443|9900)\b", text):
        text = text.replace(port, f"127.0.0.1:{ports[port.rsplit(':', 1)[1]]}")
    return text


def test_the_configuration_of_the_image_shows_a_page_and_takes_a_backend():
    ports = {name: free_port() for name in ("8080", "9900")}
    text = moved((DOCKER / "bascule.yaml").read_text(), ports)
    with RawBackend(raw_echo) as backend, run_gateway(
            text, [ports["8080"], ports["9900"]],
            environment={"BACKEND": f"127.0.0.1:{backend.port}"}) as running:
        with frames.connect(running.address) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert b"Bascule is running" in sock.recv(4096)
        with frames.open_websocket(running.address, path="/ws") as client:
            client.send_frame(TEXT, b"hello")
            assert client.read_frame().payload == b"hello"
        done = subprocess.run([BINARY, "health", "--config", f"{running.directory}/bascule.yaml"],
                              capture_output=True, timeout=10)
        assert done.returncode == 0, done.stderr


def test_the_chat_of_compose_tells_everybody(tmp_path):
    """Its program as it is, but for the address, behind the gateway."""
    port = free_port()
    program = (DOCKER / "backend/chat.py").read_text()
    assert '"0.0.0.0", 3000' in program
    (tmp_path / "chat.py").write_text(program.replace('"0.0.0.0", 3000', f'"127.0.0.1", {port}'))
    chat = subprocess.Popen([sys.executable, str(tmp_path / "chat.py")])
    ports = {name: free_port() for name in ("8080", "9900")}
    text = moved((DOCKER / "bascule.yaml").read_text(), ports)
    try:
        with run_gateway(text, [ports["8080"], port],
                         environment={"BACKEND": f"127.0.0.1:{port}"}) as running:
            one, other = (frames.open_websocket(running.address, path="/ws") for _ in range(2))
            one.send_frame(TEXT, b"is anybody there?")
            assert other.read_frame().payload == b"is anybody there?"
            one.close()
            other.close()
    finally:
        chat.terminate()
        assert chat.wait(10) == 0


# Kubernetes

def manifests():
    return list(yaml.safe_load_all((DOCKER / "kubernetes/bascule.yaml").read_text()))


def secret_names():
    """What the command at the top of the file puts into the secret."""
    text = (DOCKER / "kubernetes/bascule.yaml").read_text()
    return re.findall(r"--from-literal=(\w+)=", text)


def manifest(kind):
    return next(found for found in manifests() if found["kind"] == kind)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_manifests_are_valid(version):
    kinds = set()
    for found in manifests():
        kubernetes_validate.validate(found, version, strict=True)
        kinds.add(found["kind"])
    assert kinds == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget",
                     "HorizontalPodAutoscaler", "NetworkPolicy"}


def test_the_manifests_name_each_other():
    deployment = manifest("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == labels
    assert {port["targetPort"] for port in manifest("Service")["spec"]["ports"]} <= ports
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])
    assert "replicas" not in deployment["spec"], "it would undo what the autoscaler has done"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports


def test_a_pod_may_do_nothing_and_ends_slowly():
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    image_user = words(stages(DOCKER / "Dockerfile")[0][1], "USER")[0]
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == image_user
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]}}
    assert pod["volumes"][0]["projected"]["defaultMode"] & 0o007 == 0
    assert pod["terminationGracePeriodSeconds"] == 60
    hook = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    wait, rest = map(int, re.fullmatch(r"sleep (\d+); bascule drain && sleep (\d+)", hook).groups())
    drain = configuration_of(manifest("ConfigMap")["data"]["bascule.yaml"])["timeouts"]["drain"]
    drain = int(drain.rstrip("s"))
    assert wait + drain < 60 and rest > drain


def test_the_configuration_of_the_map_is_right(tmp_path):
    """All but its files, which are not here."""
    path = tmp_path / "bascule.yaml"
    path.write_text(manifest("ConfigMap")["data"]["bascule.yaml"].replace(
        "chat.default.svc.cluster.local", "127.0.0.1"))
    secret = {name: "0123456789abcdef" * 4 for name in secret_names()}
    done = subprocess.run([BINARY, "check", "--running", "--config", str(path)],
                          capture_output=True, text=True, timeout=10, env=secret)
    errors = [line for line in done.stderr.splitlines() if ": error: " in line]
    assert len(errors) == 2 and all("cannot read /etc/bascule/tls/tls." in line for line in errors)


def test_the_autoscaler_asks_for_what_the_rule_makes_of_metrics_that_there_are():
    metric = manifest("HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
    (rule,) = yaml.safe_load((DOCKER / "kubernetes/prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert rule["name"]["as"] == metric
    names = set(re.findall(r"bascule_\w+", rule["metricsQuery"] + rule["seriesQuery"])) - {metric}
    port, admin = free_port(), free_port()
    text = (f"listeners: [{{bind: '127.0.0.1:{port}'}}]\nadmin: {{bind: '127.0.0.1:{admin}'}}\n"
            "upstreams: {b: {endpoints: ['127.0.0.1:9']}}\nroutes: [{upstream: b}]\n")
    with run_gateway(text, [port, admin]):
        with frames.connect(("127.0.0.1", admin)) as sock:
            sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{admin}\r\n"
                         "Connection: close\r\n\r\n".encode())
            page = b""
            while more := sock.recv(65536):
                page += more
    for name in names:
        assert re.search(rf"^{name} \d", page.decode(), re.M), name
    monitor = yaml.safe_load((DOCKER / "kubernetes/podmonitor.yaml").read_text())
    credentials = monitor["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"]
    assert credentials["key"] in secret_names()
