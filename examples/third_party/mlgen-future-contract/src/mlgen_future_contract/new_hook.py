"""A hook that this host does not have."""

from mlgen.hookspecs import hookimpl


@hookimpl
def mlgen_hadronisation():
    """Offer a model of hadronisation."""
    return []
