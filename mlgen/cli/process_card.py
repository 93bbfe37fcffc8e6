"""A commented card that starts from a reaction: with beams that hold what comes in, and the cuts that it needs."""

from __future__ import annotations

from collections.abc import Iterator

from mlgen.errors import ProcessError
from mlgen.hard_process.divergences import as_toml, completed_cuts, refuse_divergences
from mlgen.hard_process.reaction import Reaction, parse_reaction, reaction_of
from mlgen.hard_process.settings import CutSettings, ProcessSettings
from mlgen.plugins import plugin_manager
from mlgen.stages import Stage

#: Of both beams together, in GeV: the first that leaves the outgoing particles room to move.
_ENERGIES = {"p": (13_000,), "e": (250, 500, 1_000, 3_000)}
_ROOM = 1.2
#: A set that comes with Pythia 8.
_PDF = "NNPDF23_lo_as_0130_qed"
#: Column of the comments.
_COLUMN = 32

_CARD = """\
# A card of mlgen: the stages of the chain, in order. What is not here is not replaced.
# Paths are relative to this file.
#   mlgen integrate {name}    its cross section
#   mlgen run {name}          events

# plugins = ["my_plugin.py"]    # plugins of your own, each in a single file: code that is run

[run]
seed = 1                        # one seed for everything: the same seed gives the same bytes
events = 10_000                 # events to write

[process]
{process}
# matrix_element = "closed-form"  # 'mlgen plugins' lists what there is; the first that can when left out

[process.cuts]                  # a number is a minimum, of eta and rapidity a maximum; or [minimum, maximum]
{cuts}

[phase_space]
{sampler}
# budget = 200_000              # integrand points for the training

# [amplitude]                   # a network in the place of matrix elements that are slow
# plugin = "bnn"
# model = "models/{stem}_amplitude"
# points = 100_000              # training points; they are drawn with the sampler

# [integration]                 # when 'mlgen integrate' stops: whichever is reached first
# precision = 0.001
# time = 60                     # seconds
# points = 1_000_000

[unweighting]                   # leave it out for weighted events
plugin = "hit-or-miss"          # with [amplitude]: "two-stage" asks for few true matrix elements, and is exact
maximum = "overweight-share"    # or "sample": the largest weight, no overweights; not with "two-stage"
overweight_share = 0.001

[output]
{output}
"""


def process_card(name: str, stem: str, text: str) -> str:
    """Return a card whose cross section can be computed as it stands.

    Args:
        name: File name of the card.
        stem: What its model and its output are called.
        text: The reaction.

    Raises:
        ProcessError: It is none, or none that usual beams and cuts make finite; says why.
    """
    try:
        settings = _settings(text)
        reaction = reaction_of(settings)
        cuts = completed_cuts(reaction, settings)
        refuse_divergences(reaction, settings.model_copy(update={"cuts": cuts}))
    except ProcessError as error:
        raise ProcessError(f"--process: {error}") from error
    sampler = plugin_manager().classical(Stage.PHASE_SPACE).offer.name
    return _CARD.format(
        name=name,
        stem=stem,
        process="\n".join(_process(reaction, settings)),
        cuts="\n".join(_cuts(reaction, cuts)),
        sampler="\n".join(
            [
                _line(f'plugin = "{sampler}"', "'mlgen plugins' lists what there is"),
                _line(f'model = "models/{stem}"', "trained and saved here when it is not there yet"),
            ]
        ),
        output=_line(f'files = ["{stem}.lhe.gz"]', "LHE, LHEH5, HepMC or ROOT, by the suffix"),
    )


def _settings(text: str) -> ProcessSettings:
    """Beams that hold what comes in, as far as there are such beams."""
    incoming = text.partition(">")[0].split()
    leptons = len(incoming) == 2 and set(incoming) <= {"e-", "e+"}
    content: dict[str, object] = {"reaction": text, "energy": _ENERGIES["p"][0], "pdf": _PDF}
    if leptons:
        content |= {"beams": incoming, "pdf": None}
    settings = ProcessSettings.model_validate(content)
    if not leptons:
        return settings
    reaction = parse_reaction(text, settings.beams, settings.parameters)
    threshold = sum(reaction.masses[2:])
    energy = next((energy for energy in _ENERGIES["e"] if energy > _ROOM * threshold), _ENERGIES["e"][-1])
    return settings.model_copy(update={"energy": float(energy)})


def _process(reaction: Reaction, settings: ProcessSettings) -> Iterator[str]:
    yield _line(f'reaction = "{reaction.text}"', "particles as in MadGraph; labels p, j, l+, l-, vl, vl~")
    yield _line(f'beams = ["{settings.beams[0]}", "{settings.beams[1]}"]', "p, p~, e-, e+")
    yield _line(f"energy = {settings.energy:_.0f}", "of both beams together, in GeV")
    if settings.pdf is not None:
        yield _line(f'pdf = "{settings.pdf}"', "an LHAPDF set, or a grid file (.dat); not for leptons")
    yield _line('# scale = "ht/2"', 'or a number in GeV, "ht", "sqrt(s-hat)", "m(z)"')
    if settings.pdf is None:
        yield _line(f"# alpha_s = {settings.fixed_alpha_s}", "the strong coupling")
    else:
        yield _line('# alpha_s = "pdf"', "runs as the parton densities do; or a number")


def _cuts(reaction: Reaction, cuts: CutSettings) -> Iterator[str]:
    """The cuts that are needed, then some that are not."""
    for observable, bounds in cuts:
        if bounds:
            unit = "" if observable == "delta_r" else "in GeV; "
            yield _line(as_toml(observable, bounds), f"{unit}needed: without it the cross section is infinite")
    names = list(dict.fromkeys(reaction.slots[2:]))
    if not cuts.pt:
        yield "# " + as_toml("pt", {names[0]: 20})
    yield "# " + as_toml("rapidity" if reaction.masses[2] > 0 else "eta", {names[0]: 2.5})


def _line(setting: str, comment: str) -> str:
    return f"{setting:<{_COLUMN - 1}} # {comment}"
