"""`DiscFlowGenerator`: hard events from a coupling flow, trained with a discriminator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlgen.generation import LearnedGenerator, PointDensity
from mlgen.generation.families import FamilyEvents
from mlgen.generation.fitting import Course, Data, fit_density
from mlgen.generation.learning import Learned, LearningReport
from mlgen_discflow.density import SplineFlowDensity
from mlgen_discflow.rounds import enough_events, fit_with_discriminator
from mlgen_discflow.settings import DiscFlowSettings


class DiscFlowGenerator(LearnedGenerator):
    """Learns hard events from a file and generates others like them, with a flow that a discriminator teaches.

    What is not the density of points is that of all learned generators (`mlgen.generation.LearnedGenerator`).

    References:
        Butter et al., arXiv:2110.13632; Plehn et al., arXiv:2211.01421, sec. 4.3.2.
    """

    name = "discflow"
    summary = "spline flow with a discriminator, arXiv:2110.13632"
    settings_type = DiscFlowSettings
    likelihood = True
    settings: DiscFlowSettings

    def make_density(self, dimension: int, context: int) -> PointDensity:
        """See `LearnedGenerator`."""
        return SplineFlowDensity(dimension, context, self.settings)

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
        """Train by the likelihood, then in rounds with a discriminator."""
        settings = self.settings
        taught = settings.discriminator_rounds and settings.discriminator_epochs and enough_events(learned, number)
        share = settings.discriminator_share if taught else 0.0
        plain = max(1, int(steps * (1 - share)))
        course = fit_density(learned.families[number].density, data, settings, plain, rng, report)
        if steps > plain:
            fit_with_discriminator(
                learned,
                number,
                data,
                settings,
                steps - plain,
                rng,
                lambda done, loss: report(plain + done, loss),
                remarks,
                course,
            )
        return course
