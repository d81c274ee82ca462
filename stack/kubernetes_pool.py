"""Prints the base job template of a work pool for Kubernetes: Prefect's own, with what our pods need."""

import json
import sys

from prefect_kubernetes.worker import KubernetesWorker

DEFAULTS = {
    "namespace": "sentiflow",
    "image": "sentiflow-pipeline:1.0.0rc1",
    "finished_job_ttl": 3_600,
    "cpu_request": "1",
    "cpu_limit": "2",
    "memory_request": "3Gi",  # twice what a training on the IMDB reviews needs
    "memory_limit": "3Gi",
    "env": {  # no secret: people who see the pool read it
        "PREFECT_UI_URL": "http://127.0.0.1:4200",
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
        "PREFECT_CLIENT_MAX_RETRIES": "10",
        "SENTIFLOW_TRACKING_URI": "http://mlflow:5000",
        "SENTIFLOW_UI_URL": "http://127.0.0.1:5000",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    },
}
FOLDERS = {"tmp": "/tmp", "data": "/data"}  # noqa: S108 - the pod's own
CONTAINER = {
    "envFrom": [{"secretRef": {"name": "sentiflow"}}],
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 10_001,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "volumeMounts": [{"name": name, "mountPath": path} for name, path in FOLDERS.items()],
}

template = KubernetesWorker.get_default_base_job_template()
for name, value in DEFAULTS.items():
    template["variables"]["properties"][name]["default"] = value
pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
pod["automountServiceAccountToken"] = False
pod["volumes"] = [{"name": name, "emptyDir": {}} for name in FOLDERS]
pod["containers"][0] |= CONTAINER
json.dump(template, sys.stdout, indent=2)
