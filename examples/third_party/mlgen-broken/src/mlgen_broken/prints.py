"""Greets whoever imports it, on standard output, where a command may just be writing events. It works otherwise."""

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Exactness, Settings, Stage

print("*** Welcome to mlgen-broken! Please cite us. ***")


def unweighter():
    """Greet again, and return what a card asks for."""
    print("*** mlgen-broken is loading ***")
    from mlgen_broken.keep_all import KeepAll

    return KeepAll


@hookimpl
def mlgen_unweighting():
    """Offer an unweighting that keeps all events, and says so aloud."""
    print("*** mlgen-broken offers you its plugins ***")
    yield Plugin(
        "talkative", Stage.UNWEIGHTING, unweighter, Settings, Exactness.EXACT, "keeps all events", contract_version=1
    )
