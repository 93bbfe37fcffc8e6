"""Has a hook whose name is misspelt."""

from mlgen.hookspecs import hookimpl


@hookimpl
def mlgen_generators():
    """Offer nothing, since nobody calls this."""
    return []
