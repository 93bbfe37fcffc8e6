"""UMAMI libraries as a source of matrix elements."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from mlgen.errors import ProcessError
from mlgen.hard_process.color_lines import color_flow, single_flow
from mlgen.hard_process.diagrams import spell
from mlgen.hard_process.matrix_element import MatrixElement, MatrixElements
from mlgen.hard_process.parameters import ModelParameters
from mlgen.hard_process.permuted import permuted
from mlgen.hard_process.subprocess import Subprocess
from mlgen_madgraph.card_masses import check_masses
from mlgen_madgraph.listing import Entry, entries, parameter_card
from mlgen_madgraph.matrix_element import UmamiMatrixElement
from mlgen_madgraph.settings import UmamiSettings


class UmamiMatrixElements(MatrixElements):
    """Matrix elements of libraries with the UMAMI interface.

    The parameters of the model are those of the card that the libraries are given.
    """

    settings: UmamiSettings

    def prepare(self, subprocesses: Sequence[Subprocess], parameters: ModelParameters) -> list[MatrixElement]:
        """Return the matrix element of each subprocess; equal ones are one object.

        Raises:
            ProcessError: No library has one of them, a file is missing or unusable, or its masses are others.
        """
        known, card = entries(self.settings), parameter_card(self.settings)
        made: dict[tuple[object, ...], UmamiMatrixElement] = {}
        in_order: dict[tuple[object, ...], MatrixElement] = {}
        found = []
        for subprocess in subprocesses:
            entry, permutation = _entry_of(subprocess, known)
            check_masses(card, subprocess, parameters)
            key = entry.library, entry.flavor
            if key not in made:
                made[key] = _loaded(entry, self.settings)
            if (key, permutation) not in in_order:
                in_order[key, permutation] = permuted(made[key], permutation)
            found.append(in_order[key, permutation])
        return found

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of the parameter card and of each library, by its path in the folder or by what it computes."""
        card = parameter_card(self.settings)
        files = {self._called(entry): entry.library for entry in entries(self.settings)}
        if card.is_file():
            files["param_card"] = card
        digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in set(files.values())}
        return {"program": "umami", **{name: digests[path] for name, path in sorted(files.items())}}

    def _called(self, entry: Entry) -> str:
        if self.settings.folder is None:
            return spell(entry.subprocess)
        return entry.library.relative_to(Path(self.settings.folder).expanduser()).as_posix()


def _entry_of(subprocess: Subprocess, known: Sequence[Entry]) -> tuple[Entry, tuple[int, ...]]:
    """Return the entry with the same particles, and for each of its slots the slot in the subprocess."""
    incoming, outgoing = _slots(subprocess)
    for entry in known:
        own_incoming, own_outgoing = _slots(entry.subprocess)
        if [pdg_id for pdg_id, _ in incoming] != [pdg_id for pdg_id, _ in own_incoming]:
            continue
        if [pdg_id for pdg_id, _ in outgoing] != [pdg_id for pdg_id, _ in own_outgoing]:
            continue
        pairs = zip(own_incoming + own_outgoing, incoming + outgoing, strict=True)
        return entry, tuple(there for _, there in sorted((own, there) for (_, own), (_, there) in pairs))
    listed = ", ".join(dict.fromkeys(spell(entry.subprocess) for entry in known))
    raise ProcessError(f"no UMAMI library here computes {spell(subprocess)}; there is: {listed or 'none'}")


def _slots(subprocess: Subprocess) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    numbered = [(pdg_id, slot) for slot, pdg_id in enumerate(subprocess.pdg_ids)]
    return sorted(numbered[:2]), sorted(numbered[2:])


def _loaded(entry: Entry, settings: UmamiSettings) -> UmamiMatrixElement:
    flows = entry.color_flows
    if not flows:
        strings = single_flow(entry.subprocess.pdg_ids)
        if strings is None:
            raise ProcessError(
                f"the colour flows of {spell(entry.subprocess)} are not known from '{entry.library}' alone\n"
                "Name the folder that MadGraph wrote, which lists them, with the setting 'folder'"
            )
        flows = (color_flow(entry.subprocess.pdg_ids, strings),)
    return UmamiMatrixElement(entry.subprocess, entry.library, parameter_card(settings), entry.flavor, flows)
