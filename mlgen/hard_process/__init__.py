"""From a reaction to an integrand: process, beams and PDFs, cuts, scales, phase-space channels."""
