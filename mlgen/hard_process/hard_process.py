"""A hard process: everything that a card's section ``[process]`` stands for, ready to be sampled."""

from __future__ import annotations

import copy
import dataclasses
import importlib.metadata
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlgen.errors import ProcessError
from mlgen.events import EventBatch
from mlgen.hard_process import event_record
from mlgen.hard_process.amplitude_process import amplitude_process
from mlgen.hard_process.channels import Channel, ChannelNames, Kinematics, channels_of, chosen
from mlgen.hard_process.cuts import Cut, CutMasks, PhaseSpaceLimits, common_cuts, resolve_cuts
from mlgen.hard_process.diagrams import cubic_diagrams
from mlgen.hard_process.drawing import drawn_columns
from mlgen.hard_process.integrand import HardPoints, Luminosity, ProcessIntegrand
from mlgen.hard_process.maps import MAPS_VERSION, ChannelMaps, PriorWeights, Topologies, madspace_context
from mlgen.hard_process.matrix_element import MatrixElement, MatrixElements
from mlgen.hard_process.particles import particle_of
from mlgen.hard_process.parton_densities import Coupling, FixedCoupling, PartonDensities, coupling_of_set
from mlgen.hard_process.pdf_files import find_pdf
from mlgen.hard_process.reaction import reaction_of
from mlgen.hard_process.scales import scale_function
from mlgen.hard_process.settings import ProcessSettings
from mlgen.hard_process.source_errors import MatrixElementFailure, source_errors, source_name
from mlgen.hard_process.subprocess import Subprocess
from mlgen.hard_process.symmetry import group_channels, process_symmetries
from mlgen.run_info import Beam, Process, RunInfo
from mlgen.stages import AmplitudeProcess, FloatArray, IntArray

_BEAM_IDS = {"p": 2212, "p~": -2212, "e-": 11, "e+": -11}

#: What else of a set's information says how the coupling runs.
_RUNNING = ("MZ", "MCharm", "MBottom", "MTop")


class HardProcess:
    """A reaction of beams with its parton densities, scales, cuts, channels and matrix elements.

    Args:
        settings: The card's section ``[process]``.
        sources: Sources of matrix elements, in the order in which they are asked; the first that has the reaction is
            taken.
        threads: Threads that madspace may use; the results are the same for any number.

    Attributes:
        settings: What it was made with.
        reaction: The reaction, labels expanded.
        subprocesses: Its subprocesses.
        parameters: Of the model.
        channels: The phase-space channels.
        source: The source of the matrix elements.
        matrix_elements: Of each subprocess.
        integrand: The differential cross section.
        fingerprint: What defines the integrand, JSON-able. A model that was trained with another one does not fit.

    Raises:
        ProcessError: Something does not fit together; says what, and what to do.
        MatrixElementFailure: A source of matrix elements failed.
    """

    def __init__(self, settings: ProcessSettings, sources: Sequence[MatrixElements], *, threads: int = 1) -> None:
        self.settings = settings
        self.reaction = reaction_of(settings)
        self.parameters = self.reaction.parameters
        self.subprocesses = self.reaction.subprocesses
        masses = tuple(self.reaction.masses)
        context = madspace_context(threads)

        cuts = resolve_cuts(settings.cuts, self.subprocesses, self.reaction.labels)
        shared = common_cuts(cuts)
        limits = PhaseSpaceLimits(shared, masses[2:])
        if limits.minimum_energy() >= settings.energy:
            raise ProcessError(
                f"the cuts leave no phase space: they take an energy of {limits.minimum_energy():g} GeV, and the beams "
                f"have {settings.energy:g} GeV together; loosen [process.cuts], or raise the energy"
            )
        topologies = Topologies(self._diagrams(masses), masses, limits)
        self.channels = chosen(
            topologies.channels, self._names, only=settings.channels.only or (), drop=settings.channels.drop
        )
        symmetries = process_symmetries(self.subprocesses, settings.beams, cuts, masses[2:])
        groups = group_channels(self.channels, symmetries, len(masses))

        self._pdf = find_pdf(settings.pdf) if settings.pdf is not None else None
        luminosity, coupling = self._densities_and_coupling(context)
        self.source, self.matrix_elements = _prepared(sources, self.subprocesses, self.reaction.text, self.parameters)
        factorisation, renormalisation = (scale_function(scale, self.parameters) for scale in settings.scales)
        self.integrand = ProcessIntegrand(
            channels=[channel.name for channel in self.channels],
            groups=groups.number,
            maps=ChannelMaps(
                self.channels,
                groups,
                topologies,
                energy=settings.energy,
                cuts=shared,
                limits=limits,
                leptonic=not settings.has_protons,
                context=context,
            ),
            prior=PriorWeights(self.channels, topologies, len(masses), context),
            masks=CutMasks(cuts, len(masses) - 2, context),
            matrix_elements=self.matrix_elements,
            source=source_name(self.source),
            luminosity=luminosity,
            scales=(factorisation, renormalisation),
            coupling=coupling,
            energy=settings.energy,
        )
        self.integrand.require_phase_space()
        self.fingerprint = self._fingerprint(cuts)

    def _diagrams(self, masses: tuple[float, ...]) -> tuple[Channel, ...]:
        """The kinematics of all diagrams of all subprocesses, and those that the card adds."""
        kinematics = Kinematics(masses, self.parameters, self.settings.energy)
        self._names = ChannelNames(self.reaction.slots[2:])
        diagrams = [
            diagram for subprocess in self.subprocesses for diagram in cubic_diagrams(subprocess, self.parameters)
        ]
        known = channels_of(diagrams, kinematics, self._names)
        added = (self._names.added(pattern, kinematics) for pattern in self.settings.channels.add)
        every = dict.fromkeys([*known, *added])
        return tuple(dataclasses.replace(channel, name=self._names.of_channel(channel)) for channel in every)

    def _densities_and_coupling(self, context: Any) -> tuple[Luminosity | None, Coupling]:
        fixed = self.settings.fixed_alpha_s
        if self._pdf is None:
            if fixed is None:
                raise ProcessError("alpha_s has to be a number where there are no parton densities to take it from")
            return None, FixedCoupling(fixed)
        densities, columns = [], []
        for side, beam in enumerate(self.settings.beams):
            # The densities of an antiproton are those of the proton with quarks and antiquarks exchanged.
            ids = [subprocess.incoming[side] for subprocess in self.subprocesses]
            in_proton = ids if beam == "p" else [particle_of(pdg_id).anti.pdg_id for pdg_id in ids]
            distinct = list(dict.fromkeys(in_proton))
            densities.append(PartonDensities(self._pdf, distinct, context))
            columns.append([distinct.index(pdg_id) for pdg_id in in_proton])
        luminosity = Luminosity((densities[0], densities[1]), np.array(columns))
        if fixed is not None:
            return luminosity, FixedCoupling(fixed)
        return luminosity, coupling_of_set(self._pdf, densities[0].flavors, context)

    def _fingerprint(self, cuts: Sequence[frozenset[Cut]]) -> dict[str, Any]:
        settings = self.settings
        factorisation, renormalisation = settings.scales
        fixed = settings.fixed_alpha_s
        with source_errors(source_name(self.source)):
            source = self.source.fingerprint()
        running = None if self._pdf is None or fixed is not None else dict(sorted(self._coupling_info().items()))
        return {
            "reaction": self.reaction.text,
            "subprocesses": [list(subprocess.pdg_ids) for subprocess in self.subprocesses],
            "beams": list(settings.beams),
            "energy": settings.energy,
            "pdf": None if self._pdf is None else {"name": self._pdf.name, "sha256": self._pdf.sha256()},
            "factorisation_scale": factorisation,
            "renormalisation_scale": renormalisation,
            "alpha_s": fixed if running is None else running,
            "cuts": _cuts_as_json(cuts),
            "parameters": self.parameters.model_dump(mode="json"),
            "channels": list(self.integrand.channels),
            "groups": list(self.integrand.groups),
            # Another version may map the hypercube in another way.
            "phase_space_maps": {"version": MAPS_VERSION, "madspace": importlib.metadata.version("madspace")},
            "matrix_element": {"source": type(self.source).__name__, **source},
        }

    def _coupling_info(self) -> dict[str, str]:
        info = {} if self._pdf is None else self._pdf.info
        return {key: value for key, value in info.items() if key.startswith("AlphaS") or key in _RUNNING}

    def with_matrix_elements(self, matrix_elements: Sequence[MatrixElement]) -> HardProcess:
        """Return the same process with other matrix elements, one for each subprocess; the fingerprint stays.

        Args:
            matrix_elements: For instance surrogates of the process's own.
        """
        other = copy.copy(self)
        other.matrix_elements = list(matrix_elements)
        other.integrand = self.integrand.with_matrix_elements(matrix_elements)
        return other

    def amplitude_process(self, number: int) -> AmplitudeProcess:
        """Return what the amplitude of a subprocess belongs to, with the lines of its diagrams.

        Args:
            number: Of the subprocess.
        """
        return amplitude_process(self.subprocesses[number], self.parameters)

    def draw_subprocesses(self, points: HardPoints, uniform: FloatArray) -> tuple[IntArray, FloatArray]:
        """Draw the subprocess of each point in proportion to what it contributes there.

        Args:
            points: ``n`` points.
            uniform: A uniform number for each, ``(n,)``.

        Returns:
            Number of the subprocess, ``(n,)``, and a factor for the weight, ``(n,)``: one, but where contributions
            have different signs, for which it makes each one's average right. Zero where the value is zero.
        """
        size = np.abs(points.subprocess_values)
        total = size.sum(axis=1)
        index = drawn_columns(size, uniform)
        sign = np.sign(np.take_along_axis(points.subprocess_values, index[:, None], axis=1)[:, 0])
        summed = points.subprocess_values.sum(axis=1)
        one_sign = np.abs(summed) >= total * (1 - 1e-12)
        factor = np.divide(sign * total, summed, out=np.zeros(len(total)), where=summed != 0)
        return index, np.where(one_sign & (total > 0), 1.0, factor)

    def events(
        self,
        momenta: FloatArray,
        subprocess: IntArray,
        weight: FloatArray,
        scale: FloatArray,
        alpha_s: FloatArray,
        rng: np.random.Generator,
    ) -> EventBatch:
        """Return events as a Les Houches record; see `mlgen.hard_process.event_record.events`."""
        return event_record.events(
            momenta,
            subprocess,
            weight,
            scale,
            alpha_s,
            rng,
            subprocesses=self.subprocesses,
            matrix_elements=self.matrix_elements,
            source=source_name(self.source),
            masses=self.reaction.masses[2:],
            alpha_qed=self.parameters.alpha_em,
        )

    def run_info(
        self,
        cross_section: float,
        error: float,
        maximum_weight: float,
        *,
        negative: bool = False,
        weight_strategy: int = 4,
    ) -> RunInfo:
        """Return what is true of a file of events.

        Args:
            cross_section: In pb.
            error: Of the cross section, in pb.
            maximum_weight: Largest weight, in pb.
            negative: Whether there are negative weights.
            weight_strategy: IDWTUP without its sign: 4, weights that average to the cross section; 3, unit weights.
        """
        pdf_set = 0 if self._pdf is None else self._pdf.set_index
        return RunInfo(
            beams=tuple(Beam(_BEAM_IDS[name], self.settings.energy / 2, 0, pdf_set) for name in self.settings.beams),
            weight_strategy=-weight_strategy if negative else weight_strategy,
            processes=(Process(event_record.PROCESS_ID, cross_section, error, maximum_weight),),
        )


def _cuts_as_json(cuts: Sequence[frozenset[Cut]]) -> dict[str, Any]:
    """What is cut on, with the numbers of the particles in the reaction.

    For each the minimum and the maximum (None for no maximum), or a list with that of each subprocess (None where it
    has no such cut) where they differ.
    """
    bounds: dict[str, list[list[float | None] | None]] = {}
    for number, own in enumerate(cuts):
        for cut in sorted(own):
            what = f"{cut.observable} of {' '.join(str(slot + 3) for slot in cut.slots)}"
            of_each = bounds.setdefault(what, [None] * len(cuts))
            of_each[number] = [cut.minimum, None if math.isinf(cut.maximum) else cut.maximum]
    return {
        what: of_each[0] if all(each == of_each[0] for each in of_each) else of_each
        for what, of_each in sorted(bounds.items())
    }


def _prepared(
    sources: Sequence[MatrixElements], subprocesses: tuple[Subprocess, ...], text: str, parameters: Any
) -> tuple[MatrixElements, list[MatrixElement]]:
    """The first source that has all subprocesses, with their matrix elements."""
    problems = []
    for source in sources:
        try:
            with source_errors(source_name(source)):
                elements = source.prepare(subprocesses, parameters)
        except ProcessError as error:
            problems.append(f"{source_name(source)}: {error}")
        else:
            if len(elements) != len(subprocesses):
                raise MatrixElementFailure(
                    f"{text}: matrix elements {source_name(source)}: prepare gave {len(elements)} matrix elements for "
                    f"{len(subprocesses)} subprocesses"
                )
            return source, elements
    if len(problems) == 1:
        raise ProcessError(problems[0].partition(": ")[2])
    listed = "".join(f"\n  {problem}" for problem in problems) or "\n  there is no source"
    raise ProcessError(f"{text}: no source has the matrix element{listed}")
