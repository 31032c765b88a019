"""The examples for clusters: what Ray's own schema says of them, and the array job, which is run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from batch_files import save
from conftest import ROOT, noise

EXAMPLES = ROOT / "examples"


def test_ray_up_accepts_the_example():
    import importlib.util

    package = importlib.util.find_spec("ray")
    schema = json.loads((Path(package.origin).parent / "autoscaler" / "ray-schema.json").read_bytes())
    jsonschema.validate(yaml.safe_load((EXAMPLES / "cluster" / "aws.yaml").read_text()), schema)


def test_the_job_for_kubernetes_names_one_image_and_one_folder():
    """Ray ships no schema of KubeRay: what the documentation relies on is checked by hand."""
    spec = yaml.safe_load((EXAMPLES / "cluster" / "kuberay.yaml").read_text())["spec"]
    cluster = spec["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    assert {pod["containers"][0]["image"] for pod in pods} == {"IMAGE"}
    assert {pod["containers"][0]["volumeMounts"][0]["mountPath"] for pod in pods} == {"/shared"}
    assert spec["entrypoint"].split()[:3] == ["coz", "zoom", "/shared/photos"]
    assert spec["entrypoint"].endswith("--on ray")


@pytest.mark.slow
def test_the_array_job_shares_photos_out(tmp_path):
    for number in range(5):
        save(noise(16, 24, number), tmp_path / "photos" / f"{number}.png")
    script = (EXAMPLES / "slurm.sh").read_text().replace("--zoom 16", "--zoom 4 --size 24x16 --backbone fake --quiet")
    (tmp_path / "job.sh").write_text(script)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for part in "01":
        numbers = {"SLURM_ARRAY_TASK_ID": part, "SLURM_ARRAY_TASK_COUNT": "2", "PATH": path}
        command = ["bash", "job.sh", "photos", "out"]
        subprocess.run(command, cwd=tmp_path, env={**os.environ, **numbers}, check=True, timeout=120)
    records = [
        sorted(path.parent.name for path in (tmp_path / "out" / f"part-{part}").rglob("record.json")) for part in "01"
    ]
    assert records == [["1", "3"], ["0", "2", "4"]]
