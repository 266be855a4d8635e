"""docs/many-machines.md and its files: the manifest has the fields that KubeRay's API has, the script is one for bash."""

import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from memflow_cli.cli.app import run

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "many-machines.md").read_text(encoding="utf-8")
MANIFEST = DOCS / "many-machines" / "kuberay.yaml"
SCRIPT = DOCS / "many-machines" / "films.sbatch"

TEXT, NUMBER, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}


def mapping(required: str, **properties: object) -> dict:
    """A schema of an object with these fields and no others."""
    found = {"type": "object", "required": required.split(), "additionalProperties": False}
    return {**found, "properties": properties}


def list_of(item: object) -> dict:
    return {"type": "array", "minItems": 1, "items": item}


TEXTS = {"type": "object", "additionalProperties": TEXT}
# Of a pod (core/v1), as far as the manifest uses it; names are DNS labels, quantities are texts.
NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
QUANTITIES = {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^\d+(m|Mi|Gi)?$"}}
CONTAINER = mapping(
    "name image",
    name=NAME,
    image=TEXT,
    env=list_of(mapping("name value", name=TEXT, value=TEXT)),
    resources=mapping("", requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts=list_of(mapping("name mountPath", name=NAME, mountPath=TEXT)),
)
CLAIM = mapping("claimName", claimName=NAME)
VOLUME = mapping("name persistentVolumeClaim", name=NAME, persistentVolumeClaim=CLAIM)
POD = mapping("spec", spec=mapping("containers", containers=list_of(CONTAINER), volumes=list_of(VOLUME)))
# Of ray.io/v1: RayJobSpec, RayClusterSpec, HeadGroupSpec, WorkerGroupSpec.
GROUP = mapping(
    "groupName minReplicas maxReplicas rayStartParams template",
    groupName=NAME,
    replicas=NUMBER,
    minReplicas=NUMBER,
    maxReplicas=NUMBER,
    rayStartParams=TEXTS,
    template=POD,
)
CLUSTER = mapping(
    "headGroupSpec",
    rayVersion=TEXT,
    headGroupSpec=mapping("rayStartParams template", rayStartParams=TEXTS, template=POD),
    workerGroupSpecs=list_of(GROUP),
)
METADATA = mapping("name", name=NAME)
RAY_JOB = mapping(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=METADATA,
    spec=mapping(
        "rayClusterSpec",
        entrypoint=TEXT,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=NUMBER,
        backoffLimit=NUMBER,
        rayClusterSpec=CLUSTER,
    ),
)
MODES = {"enum": ["ReadWriteMany"]}
PERSISTENT_CLAIM = mapping(
    "apiVersion kind metadata spec",
    apiVersion={"const": "v1"},
    kind={"const": "PersistentVolumeClaim"},
    metadata=METADATA,
    spec=mapping(
        "accessModes resources", accessModes=list_of(MODES), resources=mapping("requests", requests=QUANTITIES)
    ),
)


def test_the_manifest_is_what_kuberay_takes():
    job, claim = yaml.safe_load_all(MANIFEST.read_text(encoding="utf-8"))
    jsonschema.validate(job, RAY_JOB)
    jsonschema.validate(claim, PERSISTENT_CLAIM)
    cluster = job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    assert {volume["persistentVolumeClaim"]["claimName"] for pod in pods for volume in pod["volumes"]} == {
        claim["metadata"]["name"]
    }
    images = {container["image"] for pod in pods for container in pod["containers"]}
    assert len(images) == 1, "all pods have one version of everything"


def test_the_script_is_read_by_bash():
    assert subprocess.run(["bash", "-n", SCRIPT], capture_output=True).returncode == 0


@pytest.mark.parametrize("text", [PAGE, MANIFEST.read_text(encoding="utf-8"), SCRIPT.read_text(encoding="utf-8")])
def test_every_option_that_is_told_of_is_one(text, capfd):
    run(["generate", "--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capfd.readouterr().out))
    commands = re.findall(r"memflow generate [^\n`]*", text)
    told = {option for command in commands for option in re.findall(r"--[a-z][a-z-]+", command)}
    assert told and told <= known


def test_every_file_that_is_linked_is_there():
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE):
        assert (DOCS / target).exists(), target
