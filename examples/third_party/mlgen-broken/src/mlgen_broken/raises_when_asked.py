"""Imports, but its hook raises."""

from mlgen.hookspecs import hookimpl


@hookimpl
def mlgen_calorimeter():
    """Fail."""
    raise RuntimeError("the shower library /data/showers.h5 is not mounted")
