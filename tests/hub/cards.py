"""What the Hub checks in the metadata of a README.md (`/api/validate-yaml`), as far as it is documented."""

from __future__ import annotations

import re
from typing import Any

import yaml

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
PIPELINE_TAGS = {
    "text-classification",
    "token-classification",
    "question-answering",
    "summarization",
    "text-generation",
    "text2text-generation",
    "fill-mask",
}
LICENSES = {"mit", "apache-2.0", "cc-by-4.0", "cc-by-sa-4.0", "other", "unknown"}


def faults_of(content: str) -> list[str]:
    """Return what is wrong with a card's metadata."""
    found = re.match(r"^---\r?\n(.*?)\r?\n---(\r?\n|$)", content, re.DOTALL)
    if found is None:
        return []
    try:
        metadata = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [f"the metadata are no YAML: {error}"]
    if not isinstance(metadata, dict):
        return ["the metadata are no mapping"]
    return [*_names(metadata), *_model_index(metadata.get("model-index", []))]


def _names(metadata: dict[str, Any]) -> list[str]:
    faults = []
    for key in ("base_model", "datasets"):
        value = metadata.get(key, [])
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or not HUB_NAME.fullmatch(name):
                faults.append(f'"{key}" with value "{name}" is not valid: a name on the Hub is expected')
    if metadata.get("pipeline_tag", "fill-mask") not in PIPELINE_TAGS:
        faults.append(f'"pipeline_tag" must be one of {sorted(PIPELINE_TAGS)}')
    if metadata.get("license", "mit") not in LICENSES:
        faults.append(f'"license" must be one of {sorted(LICENSES)}')
    return faults


def _model_index(index: Any) -> list[str]:
    faults = []
    for model in index:
        if not model.get("name"):
            faults.append('"model-index[0].name" is required')
        for result in model["results"]:
            if not result.get("task", {}).get("type"):
                faults.append('"task.type" is required')
            if not result.get("dataset", {}).get("type") or not result["dataset"].get("name"):
                faults.append('"dataset.type" and "dataset.name" are required')
            if any("type" not in metric or "value" not in metric for metric in result["metrics"]):
                faults.append('"metrics.type" and "metrics.value" are required')
    return faults
