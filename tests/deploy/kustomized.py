"""What deploy/kubernetes applies: its kustomization.yaml, built as far as that file goes."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from deploy.described import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
READ = {"apiVersion", "kind", "resources", "configMapGenerator", "images"}


def documents(file: str) -> list[dict[str, Any]]:
    """Return the objects of a file of the folder."""
    return list(yaml.safe_load_all((FOLDER / file).read_text("utf-8")))


@cache
def built() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the objects by kind and name. A ConfigMap's name has no hash at its end.

    Raises ValueError for a key that this does not follow; kustomize itself knows many more.
    """
    [wanted] = documents("kustomization.yaml")
    if unread := wanted.keys() - READ:
        raise ValueError(f"kustomization.yaml has {sorted(unread)}, which is not read here")
    found = [one for file in wanted["resources"] for one in documents(file)]
    for image in wanted["images"]:
        for container in (one for each in found for one in containers(each)):
            if container["image"] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"
    found += [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": one["name"]},
            "data": {Path(file).name: (FOLDER / file).read_text("utf-8") for file in one["files"]},
        }
        for one in wanted["configMapGenerator"]
    ]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def pod_of(one: dict[str, Any]) -> dict[str, Any] | None:
    """Return the pod that an object starts; None: it starts none."""
    pod: dict[str, Any] | None = one.get("spec", {}).get("template", {}).get("spec")
    return pod


def containers(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers that an object starts."""
    return (pod_of(one) or {}).get("containers", [])
