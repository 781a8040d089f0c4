"""deploy/kubernetes: what a cluster would refuse, and what would go wrong in silence."""

import copy
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from deploy.described import GRACEFUL_S, ROOT, known_variables, procfile, rests
from deploy.kustomized import FOLDER, built, containers, documents, pod_of
from support import each

from bridge.healthcheck import role_of
from config.settings import NEEDED, load_settings, warnings_of
from demo.processes import environment

SCHEMAS = ROOT / "tests" / "deploy" / "schemas"
KUBERNETES = json.loads((SCHEMAS / "kubernetes.json").read_text("utf-8"))
PODS = sorted(key for key, one in built().items() if pod_of(one))
WEB, WORKER, CHECK = (
    ("Deployment", "callkaro-bridge-web"),
    ("Deployment", "callkaro-bridge-worker"),
    ("Job", "callkaro-bridge-check"),
)


def problems_of(one: dict[str, Any]) -> list[str]:
    """Return what Kubernetes' schema of this kind has against an object."""
    group, _, version = str(one.get("apiVersion")).rpartition("/")
    kind = {"group": group, "kind": one.get("kind"), "version": version}
    names = [
        name
        for name, schema in KUBERNETES["$defs"].items()
        if kind in schema.get("x-kubernetes-group-version-kind", [])
    ]
    if len(names) != 1:
        return [f"there is no such kind: {kind}"]
    schema = {**KUBERNETES, "$ref": f"#/$defs/{names[0]}"}
    found = jsonschema.Draft202012Validator(schema).iter_errors(one)
    return [f"{error.json_path}: {error.message}" for error in found]


def example_secret() -> dict[str, Any]:
    [secret] = documents("secret.example.yaml")
    return secret


def test_kustomize_knows_every_key_of_its_file() -> None:
    [wanted] = documents("kustomization.yaml")
    schema = json.loads((SCHEMAS / "kustomization.json").read_text("utf-8"))
    jsonschema.Draft4Validator(schema).validate(wanted)


@each("key", sorted(built()), ids=" ".join)
def test_kubernetes_takes_what_is_applied(key: tuple[str, str]) -> None:
    assert problems_of(built()[key]) == []


def test_kubernetes_takes_the_example_of_a_secret() -> None:
    assert problems_of(example_secret()) == []


def spec(one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = one["spec"]
    return found


def container(one: dict[str, Any]) -> dict[str, Any]:
    [found] = containers(one)
    return found


@each(
    "mistake",
    [
        lambda one: one.update(kind="Deploymnt"),
        lambda one: one.update(apiVersion="apps/v1beta1"),
        lambda one: spec(one).pop("selector"),
        lambda one: spec(one).update(replicas="two"),
        lambda one: spec(one)["template"]["spec"].update(terminationGracePeriod=40),
        lambda one: spec(one)["template"]["spec"]["securityContext"].update(runAsNonRoot="yes"),
        lambda one: container(one).pop("name"),
        lambda one: container(one).update(livenesProbe={}),
        lambda one: container(one)["readinessProbe"].update(periodSeconds="5s"),
        lambda one: container(one)["readinessProbe"].update(httpGet={"path": "/readyz"}),
        lambda one: container(one).update(args="python -m bridge.serve"),
        lambda one: container(one)["env"][0].update(value=8000),
        lambda one: container(one)["volumeMounts"][0].update(readonly=True),
    ],
    ids=str,
)
def test_a_typing_error_fails(mistake: Callable[[dict[str, Any]], object]) -> None:
    wrong = copy.deepcopy(built()[WEB])
    mistake(wrong)
    assert problems_of(wrong) != []


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kustomize_itself_builds_the_same() -> None:
    ran = subprocess.run(  # noqa: S603
        ["kubectl", "kustomize", str(FOLDER)],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    # The name of the ConfigMap, where it is used too, ends with a hash of what is in it.
    text = re.sub(r"(name: callkaro-bridge-routes)-[a-z0-9]{10}$", r"\1", ran.stdout, flags=re.M)
    assert text != ran.stdout
    found = {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text)}
    assert found == built()


def test_every_file_is_applied_or_says_why_it_is_not() -> None:
    [wanted] = documents("kustomization.yaml")
    left_out = {file.name for file in FOLDER.glob("*.yaml")} - {*wanted["resources"]}
    assert left_out == {"kustomization.yaml", "keda.yaml", "secret.example.yaml"}
    for name in left_out - {"kustomization.yaml"}:
        assert "kustomization.yaml leaves" in (FOLDER / name).read_text("utf-8")


def test_each_process_runs_what_the_procfile_says() -> None:
    assert container(built()[WORKER])["args"] == procfile()["worker"]
    assert container(built()[CHECK])["args"] == procfile()["release"]
    assert "args" not in container(built()[WEB])  # the image's: test_compose.py
    for key in PODS:
        assert "command" not in container(built()[key])  # or tini would not be process 1


@each("key", PODS, ids=" ".join)
def test_a_pod_can_write_nowhere_and_may_do_nothing_but_its_work(key: tuple[str, str]) -> None:
    pod = pod_of(built()[key]) or {}
    [user] = rests("USER")
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(user),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(built()[key])["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    # A Service with the name website would be WEBSITE_PORT, and so on.
    assert pod["enableServiceLinks"] is False
    assert container(built()[key])["resources"].keys() == {"requests", "limits"}


@each("key", PODS, ids=" ".join)
def test_a_pod_has_its_secret_and_its_routes_and_a_place_to_write(key: tuple[str, str]) -> None:
    pod, one = pod_of(built()[key]) or {}, container(built()[key])
    assert one["envFrom"] == [{"secretRef": {"name": example_secret()["metadata"]["name"]}}]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in one["volumeMounts"]}
    assert len(volumes) == len(mounts)
    workdir = rests("WORKDIR")[-1]
    routes = mounts[f"{workdir}/routes.toml"]
    map_name = volumes[routes["name"]]["configMap"]["name"]
    assert routes["subPath"] in built()["ConfigMap", map_name]["data"]
    assert routes["readOnly"] is True
    assert "emptyDir" in volumes[mounts["/tmp"]["name"]]  # noqa: S108


def test_a_pod_has_the_time_to_finish_what_is_on_the_wire() -> None:
    assert (pod_of(built()[WORKER]) or {})["terminationGracePeriodSeconds"] >= GRACEFUL_S + 5
    [program, seconds] = container(built()[WEB])["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    least = int(seconds) + GRACEFUL_S + 5
    assert (pod_of(built()[WEB]) or {})["terminationGracePeriodSeconds"] >= least


def test_web_is_probed_at_its_port() -> None:
    one = container(built()[WEB])
    [port] = one["ports"]
    assert {"name": "PORT", "value": str(port["containerPort"])} in one["env"]
    assert f"EXPOSE {port['containerPort']}" in (ROOT / "Dockerfile").read_text("utf-8")
    asked = {name: one[name]["httpGet"] for name in one if name.endswith("Probe")}
    assert asked == {
        "startupProbe": {"path": "/healthz", "port": port["name"]},
        "livenessProbe": {"path": "/healthz", "port": port["name"]},  # a restart helps no Redis
        "readinessProbe": {"path": "/readyz", "port": port["name"]},
    }
    [served] = spec(built()["Service", "callkaro-bridge"])["ports"]
    assert served["targetPort"] == port["name"]


def test_a_worker_is_probed_by_the_health_check() -> None:
    one = container(built()[WORKER])
    asked = {name: one[name]["exec"]["command"] for name in one if name.endswith("Probe")}
    assert asked.keys() == {"startupProbe", "livenessProbe"}
    for *words, role in asked.values():
        assert words == ["python", "-m", "bridge.healthcheck"]
        assert role == role_of("\0".join(one["args"]).encode())
    assert all(one[name]["timeoutSeconds"] >= 10 for name in asked)


def selectors() -> Iterator[Any]:
    """Yield what selects pods, and the name of the Deployment whose pods are meant."""
    for (kind, name), one in built().items():
        if kind in ("Deployment", "PodDisruptionBudget"):
            yield pytest.param(spec(one)["selector"]["matchLabels"], name, id=f"{kind} {name}")
    yield pytest.param(
        spec(built()["Service", "callkaro-bridge"])["selector"], WEB[1], id="Service"
    )


@pytest.mark.parametrize(("labels", "name"), list(selectors()))
def test_what_selects_pods_finds_its_own_alone(labels: dict[str, str], name: str) -> None:
    found = {
        key[1]
        for key in PODS
        if labels.items() <= spec(built()[key])["template"]["metadata"]["labels"].items()
    }
    assert found == {name}


def test_more_web_pods_are_started_when_these_are_busy() -> None:
    autoscaler = spec(built()["HorizontalPodAutoscaler", "callkaro-bridge-web"])
    assert (autoscaler["scaleTargetRef"]["kind"], autoscaler["scaleTargetRef"]["name"]) == WEB
    assert autoscaler["minReplicas"] >= 2  # or a drained node closes the intake
    assert "cpu" in container(built()[WEB])["resources"]["requests"]  # its percentage is of this
    for key in (WEB, WORKER):
        assert "replicas" not in spec(built()[key])  # or each `apply` would undo the scaling


def test_more_workers_are_started_when_deliveries_are_late() -> None:
    [scaled] = documents("keda.yaml")
    target = spec(scaled)["scaleTargetRef"]
    assert (target.get("kind", "Deployment"), target["name"]) == WORKER
    assert spec(scaled)["minReplicaCount"] >= 1
    [trigger] = spec(scaled)["triggers"]
    [metric] = re.findall(r"callkaro_bridge_(\w+)", trigger["metadata"]["query"])
    assert f"`{metric}`" in (ROOT / "docs" / "operating.md").read_text("utf-8")
    assert trigger["metricType"] == "Value"  # by default KEDA would divide it by the workers


def test_every_variable_is_one_that_the_bridge_reads() -> None:
    given = {one["name"] for key in PODS for one in container(built()[key]).get("env", [])}
    secret = example_secret()["stringData"]
    assert given | secret.keys() <= known_variables()
    assert NEEDED - {"ROUTES"} <= secret.keys()
    assert all(isinstance(value, str) for value in secret.values())
    assert not [name for name in secret if re.search("TOKEN|KEY|SECRET", name) and secret[name]]


def test_the_bridge_starts_with_the_example_and_calls_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(FOLDER)  # which has a routes.toml, as the pods have
    secret = example_secret()["stringData"]
    filled = {name: value or "a-made-up-secret-of-the-tests" for name, value in secret.items()}
    with environment({"PATH": os.environ["PATH"], **filled}):
        settings = load_settings()
    assert warnings_of(settings) == ["DRY_RUN is on: nobody is called"]
    assert {route.source for route in settings.routes.routes} == {"website"}
