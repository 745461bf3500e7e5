"""The Kubernetes manifests: rendered, valid, and as strict as they say."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.manifests import GOLDEN, RENDERS, ROOT, golden, one, pod, render, rules_volume
from support.tools import tool

from fraudstream.rules.compiler.compile import read_directory
from fraudstream.stream.metrics import METRICS
from fraudstream.stream.settings import load_settings

pytestmark = pytest.mark.ops

OLDEST, NEWEST = "1.30.0", "1.37.0"
"""Kubernetes versions that the manifests are checked against."""
MODELS = {
    "PodMonitor": "cloudcoil.models.prometheus_operator.v1",
    "PrometheusRule": "cloudcoil.models.prometheus_operator.v1",
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
}
"""Kind -> module with its model. Modules of `make setup-ops` are imported when a test runs."""
UNCHECKED = {"KafkaTopic", "KafkaUser"}
"""No package has Strimzi's schemas; docs/operations/checked.md says how they were looked at."""
CONFIG_MAP_BYTES_MAX = 1_048_576


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every manifest of every render."""
    for name in RENDERS:
        for item in render(name):
            yield name, item


@pytest.mark.parametrize("name", list(RENDERS))
def test_the_render_is_that_of_the_golden_file(name: str) -> None:
    """What a change of the manifests does to a cluster is seen in review."""
    committed = (GOLDEN / f"k8s-{name}.yaml").read_text()
    assert golden(name) == committed, "run `python -m support.manifests` in tests/ and look at the difference"


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_built_in_kinds_are_valid_to_the_last_field(version: str) -> None:
    """kubernetes-validate, strict: a field that does not exist is an error."""
    import kubernetes_validate

    checked = 0
    for _, item in manifests():
        if item["kind"] not in UNCHECKED | set(MODELS):
            kubernetes_validate.validate(item, version, strict=True)
            checked += 1
    assert checked > 30


def test_a_misspelt_field_is_found() -> None:
    """A check of the check."""
    import kubernetes_validate

    item = json.loads(json.dumps(one("base", "StatefulSet")))
    item["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, NEWEST, strict=True)


def test_kinds_of_operators_are_valid_to_the_last_field() -> None:
    """Models made from the operators' definitions; a field that they do not know is lost on the way."""
    seen = set()
    for _, item in manifests():
        if (module := MODELS.get(item["kind"])) is not None:
            model = getattr(importlib.import_module(module), item["kind"])
            back = model.model_validate(item).model_dump(by_alias=True, exclude_unset=True, mode="json")
            assert back == item
            seen.add(item["kind"])
    assert seen == set(MODELS)


def test_no_kind_is_left_out() -> None:
    """Everything is checked by one of the two, or named as unchecked."""
    kinds = {item["kind"] for _, item in manifests()}
    own = {"ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"}
    assert kinds == {*own, "StatefulSet", *MODELS, *UNCHECKED}


@pytest.mark.parametrize("name", list(RENDERS))
def test_the_pod_meets_the_restricted_standard(name: str) -> None:
    """Pod Security Standards, restricted: https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    spec = pod(name)
    security = spec["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert spec["automountServiceAccountToken"] is False
    kinds = {next(key for key in volume if key != "name") for volume in spec["volumes"]}
    assert kinds <= {"projected", "emptyDir", "secret", "configMap"}
    assert len(spec["containers"]) == 1
    container = spec["containers"][0]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "securityContext" not in container.get("lifecycle", {})


@pytest.mark.parametrize("name", list(RENDERS))
def test_what_is_written_has_a_volume_and_the_rest_is_read_only(name: str) -> None:
    """State, kernels and scratch are writable; rules and secrets are not."""
    container = pod(name)["containers"][0]
    mounts = {item["mountPath"]: item.get("readOnly", False) for item in container["volumeMounts"]}
    assert {path for path, read_only in mounts.items() if not read_only} == {
        "/var/lib/fraudstream",
        "/var/cache/fraudstream",
        "/tmp",
    }
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    claims = {claim["metadata"]["name"] for claim in one(name, "StatefulSet")["spec"]["volumeClaimTemplates"]}
    assert {item["name"] for item in container["volumeMounts"]} == set(volumes) | claims
    assert all("sizeLimit" in volume["emptyDir"] for volume in volumes.values() if "emptyDir" in volume)
    for volume in volumes.values():
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440


@pytest.mark.parametrize("name", list(RENDERS))
def test_resources_are_asked_for_and_the_processor_is_not_throttled(name: str) -> None:
    """Memory has a limit, processor time a request alone."""
    resources = pod(name)["containers"][0]["resources"]
    assert {"cpu", "memory", "ephemeral-storage"} == set(resources["requests"])
    assert {"memory", "ephemeral-storage"} == set(resources["limits"])


@pytest.mark.parametrize("name", list(RENDERS))
def test_probes_ask_what_they_say(name: str) -> None:
    """Liveness never asks for readiness: a broker that is away must not restart workers."""
    container = pod(name)["containers"][0]
    paths = {kind: container[kind]["httpGet"]["path"] for kind in container if kind.endswith("Probe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 180
    assert pod(name)["terminationGracePeriodSeconds"] >= 90


@pytest.mark.parametrize("name", list(RENDERS))
def test_the_settings_are_settings_of_the_worker(name: str) -> None:
    """The worker reads what the ConfigMap gives, and nothing that Kubernetes adds by itself."""
    spec = pod(name)
    assert spec["enableServiceLinks"] is False
    data = next(i["data"] for i in render(name) if i["metadata"]["name"] == "fraudstream-settings")
    environment = {item["name"]: "fraudstream-0" for item in spec["containers"][0]["env"]}
    settings = load_settings({**data, **environment})
    assert settings.group_instance_id == "fraudstream-0"
    assert settings.metrics_host == "0.0.0.0"
    assert settings.metrics_port == spec["containers"][0]["ports"][0]["containerPort"]
    mounts = {item["mountPath"] for item in spec["containers"][0]["volumeMounts"]}
    assert {str(settings.rules_dir), str(settings.state_dir)} <= mounts
    for path in (settings.ssl_ca_file, settings.sasl_password_file):
        assert not path or str(Path(path).parent) in mounts
    assert not [key for key in data if re.search(r"PASSWORD$|SECRET|TOKEN", key)]


def test_production_is_encrypted_and_begins_in_shadow() -> None:
    """What a bank would apply first stops nobody's payment."""
    data = next(i["data"] for i in render("prod") if i["metadata"]["name"] == "fraudstream-settings")
    assert data["FRAUDSTREAM_SECURITY_PROTOCOL"] == "SASL_SSL"
    assert pod("prod")["containers"][0]["args"] == ["worker", "--shadow"]
    for name in ("dev", "prod"):
        labels = one(name, "Namespace")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_selectors_find_the_pod_and_peers_are_left_alone() -> None:
    """Kustomize's label transformers like to change who may come in."""
    for name in RENDERS:
        labels = one(name, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
        policy = one(name, "NetworkPolicy")["spec"]
        chosen = [
            policy["podSelector"]["matchLabels"],
            one(name, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
            one(name, "Service")["spec"]["selector"],
            one(name, "StatefulSet")["spec"]["selector"]["matchLabels"],
        ]
        assert all(set(selector.items()) <= set(labels.items()) and selector for selector in chosen)
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        peers = [peer for rule in policy["ingress"] for peer in rule["from"]]
        assert [peer["podSelector"]["matchLabels"] for peer in peers] == [
            {"app.kubernetes.io/name": "prometheus"}
        ]
        assert all(rule["ports"] for rule in [*policy["ingress"], *policy["egress"]])
    monitor = one("prod", "PodMonitor")["spec"]
    labels = one("prod", "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"] for port in pod("prod")["containers"][0]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports


def test_autoscaling_asks_for_a_metric_that_exists_and_owns_the_replicas() -> None:
    """Two owners of one number would fight."""
    assert "replicas" not in one("scaled", "StatefulSet")["spec"]
    spec = one("scaled", "ScaledObject")["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "fraudstream"}
    queries = [trigger["metadata"]["query"] for trigger in spec["triggers"]]
    named = {name for query in queries for name in re.findall(r"fraudstream_\w+", query)}
    assert named
    assert named <= {metric.full_name for metric in METRICS}


def test_the_rules_volume_is_the_rules_directory() -> None:
    """A new rule file that nobody lists would be missing in the cluster alone."""
    expected = {name: content.decode() for name, content in read_directory(ROOT / "rules").items()}
    for name in RENDERS:
        assert rules_volume(name) == expected
    for _, item in manifests():
        if item["kind"] == "ConfigMap":
            assert len(json.dumps(item).encode()) < CONFIG_MAP_BYTES_MAX


def test_dashboards_are_the_files() -> None:
    """Grafana's sidecar finds them by their label."""
    found = next(i for i in render("prod") if i["metadata"]["name"] == "fraudstream-dashboards")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    files = {path.name: path.read_text() for path in (ROOT / "k8s/components/dashboards").glob("*.json")}
    assert found["data"] == files


def test_the_image_is_linted() -> None:
    """Hadolint without a word."""
    done = subprocess.run(
        [tool("hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_compose_starts_what_it_says() -> None:
    """What services mount is there, nothing is published but on loopback, and versions are named."""
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert set(compose["services"]) == {"kafka", "topics", "worker", "prometheus", "grafana"}
    for service in compose["services"].values():
        image = service.get("image", "")
        assert image == "fraudstream" or re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", image), image
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (ROOT / source).exists(), source
    worker = compose["services"]["worker"]
    load_settings(worker["environment"])
    assert worker["read_only"] is True
