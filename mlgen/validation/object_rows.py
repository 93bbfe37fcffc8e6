"""Which particles of a batch of events are objects."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mlgen.events import FloatArray, IntArray
from mlgen.validation.particle_properties import is_hadron

Rows = npt.NDArray[np.int64]

#: Status of final particles and of those that decay.
FINAL, DECAYED = 1, 2
#: Photons of shower-level events that are objects have at least this transverse momentum in GeV; softer ones are
#: radiation of the shower, and part of the jets.
PHOTON_PT_MIN = 10.0
#: Partons, light leptons and photons: where a hard event lists one as intermediate, it is no object.
_NEVER_RESONANCES = (1, 2, 3, 4, 5, 9, 11, 12, 13, 14, 16, 21, 22)


def hard_objects(pdg_id: IntArray, status: IntArray, mother1: IntArray, offsets: IntArray) -> Rows:
    """Rows of a hard event that are objects: final particles, and resonances.

    Args:
        pdg_id: Of all particles of the batch, flat.
        status: Likewise.
        mother1: Likewise; the mother's number in the event from 1 on, 0 for none.
        offsets: Where each event begins, ``(n + 1,)``.
    """
    listed = status == FINAL
    resonance = np.flatnonzero(status == DECAYED)
    resonance = resonance[~np.isin(np.abs(pdg_id[resonance]), _NEVER_RESONANCES)]
    if not len(resonance):
        return np.flatnonzero(listed)
    listed[resonance] = True
    # Of a particle that is listed again after radiation, only the last copy counts.
    first = np.repeat(offsets[:-1], np.diff(offsets))
    mother = np.clip(first + mother1 - 1, 0, len(pdg_id) - 1)
    copy = listed & (mother1 > 0) & (pdg_id[mother] == pdg_id) & (status[mother] == DECAYED)
    listed[mother[copy]] = False
    return np.flatnonzero(listed)


def prompt_objects(
    pdg_id: IntArray, status: IntArray, mother1: IntArray, offsets: IntArray, transverse: FloatArray
) -> Rows:
    """Rows of a shower-level event that are leptons and photons, but not from a hadron's decay.

    Args:
        pdg_id: Of all particles of the batch, flat.
        status: Likewise.
        mother1: Likewise; the mother's number in the event from 1 on, 0 for none.
        offsets: Where each event begins, ``(n + 1,)``.
        transverse: Transverse momenta of all particles in GeV.
    """
    final = np.flatnonzero(status == FINAL)
    size = np.abs(pdg_id[final])
    photon = (size == 22) & (transverse[final] >= PHOTON_PT_MIN)
    rows = final[((size >= 11) & (size <= 16)) | photon]
    alive, current = np.arange(len(rows)), rows
    prompt = np.ones(len(rows), np.bool_)
    counts = np.diff(offsets)
    first = np.repeat(offsets[:-1], counts)
    # All candidates climb to their mothers at once. In HepMC a hadron decays at a vertex that nothing else goes
    # into, so that the first mother is the only one as far as this matters. Beams have another status.
    for _ in range(int(counts.max(initial=0))):
        mother = mother1[current]
        alive, current = alive[mother > 0], current[mother > 0]
        if not len(alive):
            break
        current = first[current] + mother[mother > 0] - 1
        decayed = (status[current] == DECAYED) & is_hadron(pdg_id[current])
        prompt[alive[decayed]] = False
        alive, current = alive[~decayed], current[~decayed]
    return np.asarray(rows[prompt], np.int64)
