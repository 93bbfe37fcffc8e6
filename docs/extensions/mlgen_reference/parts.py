"""What a page can ask for with ``<!-- generated: NAME -->``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlgen_reference import api, card, commands, conformance, errors, formats, plugins

PARTS: Mapping[str, Callable[[], str]] = {
    "capabilities": plugins.capabilities,
    "card": card.card,
    "command-overview": commands.overview,
    "commands": commands.reference,
    "contract-versions": api.contract_versions,
    "contracts": api.contracts,
    "cells": formats.cell_columns,
    "enumerations": api.enumerations,
    "errors": errors.errors,
    "exit-codes": commands.exit_codes,
    "format-list": formats.overview,
    "formats": formats.kept,
    "hooks": api.hook_reference,
    "model-record": formats.model_record,
    "offers": api.offers,
    "plugin-overview": plugins.overview,
    "plugins": plugins.plugins,
    "python-names": api.names,
    "python": api.entry_points,
    "records": api.records,
    "test-classes": conformance.classes,
    "rules": conformance.rules,
    "tool-contracts": api.tool_contracts,
}
