"""What a wheel carries: every room of the house, every recipe, and the rows that recipes need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text())
SETUPTOOLS = SETTINGS["tool"]["setuptools"]


def test_every_room_is_packaged():
    rooms = {".".join(file.parent.relative_to(PROJECT).parts) for file in (PROJECT / "hf_fft").rglob("__init__.py")}
    assert set(SETUPTOOLS["packages"]) == rooms | {"hf_fft.recipes"}


@pytest.mark.parametrize("package", SETUPTOOLS["package-data"])
def test_every_file_that_is_not_python_is_packaged(package):
    folder = PROJECT / SETUPTOOLS["package-dir"].get(package, package.replace(".", "/"))
    matched = {file for pattern in SETUPTOOLS["package-data"][package] for file in folder.glob(pattern)}
    nested = [PROJECT / "hf_fft" / name for name in ("report",)] if package == "hf_fft" else []
    others = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".py"]
    present = {
        file
        for file in others
        if "__pycache__" not in file.parts and not any(file.is_relative_to(one) for one in nested)
    }
    assert present == matched


def test_constraints_pin_every_dependency():
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (PROJECT / "constraints.txt").read_text().splitlines()
    }
    extras = SETTINGS["project"]["optional-dependencies"]
    wanted = [*SETTINGS["project"]["dependencies"], *extras["test"], *extras["dev"]]
    names = {re.match(r"[\w-]+", requirement).group().lower().replace("_", "-") for requirement in wanted} - {"hf-fft"}
    assert names <= pinned
