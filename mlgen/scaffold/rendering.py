"""The text files of a new package, from their templates."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import mlgen
from mlgen.scaffold.names import Names
from mlgen.scaffold.stage_packages import STAGE_PACKAGES, contract_name
from mlgen.stages import CONTRACT_VERSION, Stage

#: What templates end with.
SUFFIX = ".jinja"


def rendered(names: Names, stage: Stage) -> dict[PurePosixPath, str]:
    """Return the text of each file of a package, by its path in the package."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Nothing is escaped: this makes Python, TOML and Markdown, no HTML.
    environment = Environment(
        loader=PackageLoader("mlgen.scaffold"),
        undefined=StrictUndefined,
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        keep_trailing_newline=True,
    )
    words = _words(names, stage)
    files = _common_files(names, stage)
    package = PurePosixPath("src", names.package)
    for template in environment.list_templates(extensions=[SUFFIX.removeprefix(".")]):
        folder, _, file = template.partition("/")
        if folder == stage.value:
            plain = file.removesuffix(SUFFIX)
            files[template] = package / plain if plain.endswith(".py") else PurePosixPath(plain)
    texts = {path: environment.get_template(template).render(words) for template, path in files.items()}
    return texts | {package / "py.typed": ""}


def host_versions(version: str) -> str:
    """Return the versions of mlgen that a package written for one of them says it needs.

    From the minor version on; below the next minor one while the major version is zero, and below the next major one
    later. A version that is not released, such as ``0.2.0.dev1``, is itself the lower bound.
    """
    major, minor, *_ = (int(number) for number in re.findall(r"\d+", version)[:2])
    released = re.fullmatch(r"\d+(\.\d+)*", version) is not None
    lower = f"{major}.{minor}" if released else version
    upper = f"{major}.{minor + 1}" if major == 0 else f"{major + 1}"
    return f">={lower},<{upper}"


def _common_files(names: Names, stage: Stage) -> dict[str, PurePosixPath]:
    places = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "gitignore": ".gitignore",
        "workflow.yml": ".github/workflows/test.yml",
        "test_package.py": f"tests/test_{names.package}.py",
    }
    places |= {file: f"src/{names.package}/{file}" for file in STAGE_PACKAGES[stage].shared}
    return {f"common/{template}{SUFFIX}": PurePosixPath(place) for template, place in places.items()}


def _words(names: Names, stage: Stage) -> dict[str, Any]:
    about = STAGE_PACKAGES[stage]
    contract = contract_name(stage)
    return {
        "name": names.plugin,
        "distribution": names.distribution,
        "package": names.package,
        "stage": stage.value,
        "contract": contract,
        "test_class": f"{contract}Tests",
        "contract_version": CONTRACT_VERSION,
        "host_versions": host_versions(mlgen.__version__),
        "description": about.description,
        "about": about.about,
        "requirements": about.requirements,
        "outputs": about.outputs,
        "input_note": about.input_note,
        "elsewhere": about.elsewhere,
        "keeps_model": stage is not Stage.UNWEIGHTING,
        "others": {f"{about.module}.py": "the plugin as mlgen sees it", **about.shared, **about.more},
    }
