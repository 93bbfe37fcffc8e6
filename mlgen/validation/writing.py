"""Writes what a validation found: the report, and each figure as a file of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlgen.report import write_report
from mlgen.stages import ProgressCallback, no_progress
from mlgen.validation.figures import figures_of
from mlgen.validation.page import validation_page
from mlgen.validation.record import ValidationResult


def write_validation(
    result: ValidationResult,
    report: str | Path | None,
    *,
    plots: Path | None = None,
    formats: Sequence[str] = ("png", "pdf"),
    force: bool = False,
    progress: ProgressCallback = no_progress,
) -> list[Path]:
    """Draw the figures of a validation and write its report.

    Args:
        result: What was found.
        report: The HTML file; None, none.
        plots: Directory for the figures as files; None, none.
        formats: Their formats: png, pdf, svg.
        force: Whether files that exist are replaced.
        progress: Called after each figure.

    Returns:
        What was written.

    Raises:
        OutputError: The report or a plot is there already.
        WriteFailure: Something cannot be written.
    """
    written: list[Path] = []
    if report is None and plots is None:
        return written
    figures = figures_of(result, plots, formats, progress, force=force)
    if plots is not None:
        written.append(plots)
    if report is not None:
        write_report(validation_page(result, figures), Path(report), force=force)
        written.append(Path(report))
    return written
