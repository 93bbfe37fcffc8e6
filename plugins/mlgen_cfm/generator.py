"""`CfmGenerator`: hard events from conditional flow matching."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlgen.generation import LearnedGenerator, PointDensity
from mlgen.generation.families import FamilyEvents
from mlgen.generation.fitting import Course, Data
from mlgen.generation.learning import Learned, LearningReport
from mlgen_cfm.density import FlowMatchingDensity
from mlgen_cfm.rectification import rectify
from mlgen_cfm.settings import CfmSettings


class CfmGenerator(LearnedGenerator):
    """Learns hard events from a file and generates others like them, by conditional flow matching.

    What is not the density of points is that of all learned generators (`mlgen.generation.LearnedGenerator`).

    References:
        Butter et al., arXiv:2305.10475; Lipman et al., arXiv:2210.02747; Plehn et al., arXiv:2211.01421, sec. 4.4.2.
    """

    name = "cfm"
    summary = "conditional flow matching, arXiv:2305.10475"
    settings_type = CfmSettings
    likelihood = False
    settings: CfmSettings

    def make_density(self, dimension: int, context: int) -> PointDensity:
        """See `LearnedGenerator`."""
        return FlowMatchingDensity(dimension, context, self.settings)

    def fit_family(
        self,
        learned: Learned,
        number: int,
        events: FamilyEvents,
        data: Data,
        steps: int,
        rng: np.random.Generator,
        report: Callable[[int, float], None],
        remarks: LearningReport,
    ) -> Course:
        """Train, and straighten the ways from noise to events where that is asked for."""
        if self.settings.pairing == "optimal-transport" and np.ptp(events.weight) > 1e-9:
            # The noise of events of large weight would not be normal, if it were the nearest to them.
            remarks.remarks.append("pairing = 'optimal-transport' needs equal weights; any noise belongs to any event")
            for density in learned.families[number].density.densities:
                assert isinstance(density, FlowMatchingDensity)
                density.settings = self.settings.model_copy(update={"pairing": "independent"})
        course = super().fit_family(learned, number, events, data, steps, rng, report, remarks)
        if self.settings.rectification_steps:
            rectify(
                learned.families[number].density, events, self.settings, rng, lambda done, loss: report(steps, loss)
            )
        return course
