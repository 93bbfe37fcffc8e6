"""New plugin packages: a complete one for each stage, which is installed, tested and run without an edited line.

`new_plugin` writes a package from the templates in ``templates/``: those in ``common/``, which all packages have (or
several, `StagePackage.shared`), and those of the stage. In a template ``<<name>>`` is replaced by what
`mlgen.scaffold.names` says of the name, since double braces mean something else in Python, TOML and workflows. The
inputs of the example card are made by mlgen itself.
"""

from __future__ import annotations

from mlgen.scaffold.new_plugin import Written, new_plugin

__all__ = ["Written", "new_plugin"]
