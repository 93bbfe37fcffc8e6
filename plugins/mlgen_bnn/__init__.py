"""`bnn`: |M|^2 with calibrated uncertainties from momenta. Nothing heavy is imported before a card asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mlgen.hookspecs import Plugin, hookimpl
from mlgen.stages import Capability, Exactness, Stage
from mlgen_bnn.settings import BnnSettings


def _surrogate() -> type[Any]:
    from mlgen_bnn.surrogate import BnnSurrogate

    return BnnSurrogate


@hookimpl
def mlgen_amplitude() -> Iterable[Plugin]:
    """Offer the surrogate."""
    yield Plugin(
        "bnn",
        Stage.AMPLITUDE,
        _surrogate,
        BnnSettings,
        Exactness.APPROXIMATE,
        "Bayesian network, repulsive ensemble or network with learned errors, on |M|^2 over its colour strings",
        references=("arXiv:2206.14831", "arXiv:2412.12069", "arXiv:2211.01421"),
        contract_version=1,
        capabilities=frozenset({Capability.MEMBERS}),
        quick_settings={"units": 16, "layers": 2, "steps": 40, "batch_size": 128, "members": 5, "set_units": 8},
    )
