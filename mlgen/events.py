"""`EventBatch`: a batch of events as columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import awkward as ak
import numpy as np
import numpy.typing as npt

from mlgen.errors import MlgenError, nearest

IntArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.float64]

INTEGER_COLUMNS = ("pdg_id", "status", "mother1", "mother2", "color1", "color2")
FLOAT_COLUMNS = ("px", "py", "pz", "energy", "generated_mass", "lifetime", "spin")
#: One particle of the Les Houches record, in its order (Boos et al., hep-ph/0109068, table 2).
PARTICLE_COLUMNS = INTEGER_COLUMNS + FLOAT_COLUMNS
#: Where a particle stands in the event's graph, for events that are more than a hard process.
GRAPH_COLUMNS = ("production_vertex", "end_vertex")
VERTEX_COLUMNS = ("x", "y", "z", "t", "status")


class RecordError(MlgenError):
    """Columns of an event batch that do not belong together: a defect of the code that made them."""


def _ragged(counts: IntArray, columns: Mapping[str, npt.NDArray[Any]], name: str | None) -> ak.Array:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    contents = [ak.contents.NumpyArray(np.ascontiguousarray(column)) for column in columns.values()]
    parameters = {"__record__": name} if name else None
    record = ak.contents.RecordArray(contents, list(columns), length=int(offsets[-1]), parameters=parameters)
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), record))


@dataclass(frozen=True, slots=True)
class EventBatch:
    """A batch of n events, by column.

    Particle fields are those of the Les Houches record: ``pdg_id``, ``status``, ``mother1``, ``mother2`` (counted
    from 1 within the event, 0 for none), ``color1``, ``color2``, ``px``, ``py``, ``pz``, ``energy``,
    ``generated_mass`` (GeV), ``lifetime`` (mm), ``spin``. Momenta carry the behaviour of the ``vector`` library, so
    ``batch.particles.pt`` works; ``batch.particles.mass`` is computed from the momentum, while ``generated_mass``
    is the file's own column.

    Shower-level events have two more fields, ``production_vertex`` and ``end_vertex`` (counted from 0 into
    `vertices`, -1 for none), which hold the whole ancestry.

    Args:
        particles: Awkward array of type ``n * var * Momentum4D``.
        weight: Nominal weights, shape ``(n,)``, as they stand in the file.
        variations: Named weights, each ``(n,)``; NaN where an event lacks one.
        process_id: Shape ``(n,)``.
        scale: Shape ``(n,)``, GeV.
        alpha_qed: Shape ``(n,)``.
        alpha_qcd: Shape ``(n,)``.
        comments: Text that follows the particles of an event and is no weight, shape ``(n,)`` of ``str``, or None.
        tag_attributes: Attributes of the event's tag as they stand in the file, ``(n,)`` of ``str``, or None.
        vertices: Vertices ``n * var * {x, y, z, t, status}`` in mm, or None for hard events.
        attributes: Further attributes of a shower-level event, name -> text, shape ``(n,)`` of ``dict``, or None.
    """

    particles: ak.Array
    weight: FloatArray
    process_id: IntArray
    scale: FloatArray
    alpha_qed: FloatArray
    alpha_qcd: FloatArray
    variations: Mapping[str, FloatArray] = field(default_factory=dict)
    comments: npt.NDArray[np.object_] | None = None
    tag_attributes: npt.NDArray[np.object_] | None = None
    vertices: ak.Array | None = None
    attributes: npt.NDArray[np.object_] | None = None

    def __post_init__(self) -> None:
        n = len(self.particles)
        for name in ("weight", "process_id", "scale", "alpha_qed", "alpha_qcd"):
            if np.shape(getattr(self, name)) != (n,):
                raise RecordError(f"{name} has shape {np.shape(getattr(self, name))}; ({n},) is expected")
        for name, values in self.variations.items():
            if np.shape(values) != (n,):
                raise RecordError(f"variation '{name}' has shape {np.shape(values)}; ({n},) is expected")
        for name in ("comments", "tag_attributes", "vertices", "attributes"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise RecordError(f"{name} has {len(values)} entries; {n} are expected")

    def __len__(self) -> int:
        return len(self.particles)

    @classmethod
    def from_columns(
        cls,
        counts: IntArray,
        columns: Mapping[str, npt.NDArray[Any]],
        *,
        weight: npt.ArrayLike,
        process_id: npt.ArrayLike | None = None,
        scale: npt.ArrayLike | None = None,
        alpha_qed: npt.ArrayLike | None = None,
        alpha_qcd: npt.ArrayLike | None = None,
        vertex_counts: IntArray | None = None,
        vertex_columns: Mapping[str, npt.NDArray[Any]] | None = None,
        **others: Any,
    ) -> Self:
        """Build a batch from flat columns.

        Args:
            counts: Particles in each event, shape ``(n,)``.
            columns: Particle columns of shape ``(sum(counts),)``; those of `PARTICLE_COLUMNS` that are missing
                are filled as the Les Houches Accord says for unknown: mothers, colours and lifetime 0, spin 9,
                ``generated_mass`` from the momentum.
            weight: Shape ``(n,)``.
            process_id: Shape ``(n,)`` or one value; 0 when missing.
            scale: Shape ``(n,)`` or one value; -1 (unknown) when missing, like both couplings.
            alpha_qed: As `scale`.
            alpha_qcd: As `scale`.
            vertex_counts: Vertices in each event, for shower-level events.
            vertex_columns: Columns ``x, y, z, t, status`` of shape ``(sum(vertex_counts),)``.
            others: Further fields of the batch, as they are.

        Raises:
            RecordError: A column is unknown or has the wrong length, or vertices are given by halves.
        """
        import vector

        vector.register_awkward()
        unknown = [name for name in columns if name not in PARTICLE_COLUMNS + GRAPH_COLUMNS]
        if unknown:
            raise RecordError(f"there is no particle column '{unknown[0]}'{nearest(unknown[0], PARTICLE_COLUMNS)}")
        if (vertex_counts is None) != (vertex_columns is None):
            raise RecordError("vertex_counts and vertex_columns belong together; only one of them is given")
        counts = np.asarray(counts, np.int64)
        n = len(counts)
        total = int(counts.sum())
        complete: dict[str, npt.NDArray[Any]] = {}
        for name in PARTICLE_COLUMNS:
            dtype = np.int32 if name in INTEGER_COLUMNS else np.float64
            if name in columns:
                complete[name] = np.asarray(columns[name], dtype)
            elif name == "generated_mass":
                complete[name] = invariant_mass(*(np.asarray(columns[c]) for c in ("px", "py", "pz", "energy")))
            else:
                complete[name] = np.full(total, {"spin": 9, "status": 1}.get(name, 0), dtype)
        for name in GRAPH_COLUMNS:
            if name in columns:
                complete[name] = np.asarray(columns[name], np.int32)
        for name, column in complete.items():
            if column.shape != (total,):
                raise RecordError(f"particle column '{name}' has shape {column.shape}; ({total},) is expected")

        def per_event(values: npt.ArrayLike | None, unknown: float, dtype: Any) -> npt.NDArray[Any]:
            filled = unknown if values is None else values
            return np.ascontiguousarray(np.broadcast_to(np.asarray(filled, dtype), (n,)))

        vertices = None
        if vertex_counts is not None and vertex_columns is not None:
            vertices = _ragged(vertex_counts, vertex_columns, None)
        return cls(
            particles=_ragged(counts, complete, "Momentum4D"),
            weight=per_event(weight, 1.0, np.float64),
            process_id=per_event(process_id, 0, np.int64),
            scale=per_event(scale, -1.0, np.float64),
            alpha_qed=per_event(alpha_qed, -1.0, np.float64),
            alpha_qcd=per_event(alpha_qcd, -1.0, np.float64),
            vertices=vertices,
            **others,
        )

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Number of particles in each event, shape ``(n,)``."""
        return np.asarray(ak.to_numpy(ak.num(self.particles, axis=1)), np.int64)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Start of each event in the flat columns, shape ``(n + 1,)``."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    def column(self, name: str) -> npt.NDArray[Any]:
        """One particle column of all events, flat, shape ``(sum(counts),)``."""
        return np.asarray(ak.to_numpy(ak.flatten(self.particles[name], axis=1)))

    def columns(self, names: Iterable[str] = PARTICLE_COLUMNS) -> dict[str, npt.NDArray[Any]]:
        """Several particle columns, flat."""
        flat = ak.flatten(self.particles, axis=1)
        return {name: np.asarray(ak.to_numpy(flat[name])) for name in names}

    def momenta(self) -> FloatArray:
        """All four-momenta ``(px, py, pz, energy)`` in GeV, flat, shape ``(sum(counts), 4)``."""
        columns = self.columns(("px", "py", "pz", "energy"))
        return np.stack(list(columns.values()), axis=1)

    @property
    def has_graph(self) -> bool:
        """Whether the events carry vertices and the whole ancestry."""
        return self.vertices is not None

    def __getitem__(self, selection: slice | npt.NDArray[Any]) -> Self:
        def part(values: Any) -> Any:
            return None if values is None else values[selection]

        particles = self.particles[selection]
        if not isinstance(selection, slice):
            # Awkward would keep the whole batch alive behind a few chosen events.
            particles = ak.to_packed(particles)
        return type(self)(
            particles=particles,
            weight=self.weight[selection],
            process_id=self.process_id[selection],
            scale=self.scale[selection],
            alpha_qed=self.alpha_qed[selection],
            alpha_qcd=self.alpha_qcd[selection],
            variations={name: values[selection] for name, values in self.variations.items()},
            comments=part(self.comments),
            tag_attributes=part(self.tag_attributes),
            vertices=part(self.vertices),
            attributes=part(self.attributes),
        )

    @classmethod
    def concatenate(cls, batches: Sequence[Self]) -> Self:
        """Join batches; a variation, text or attributes that only some have are NaN or empty in the others.

        Raises:
            RecordError: There is no batch, or only some have vertices.
        """
        if not batches:
            raise RecordError("there is no batch to join")
        if len(batches) == 1:
            return batches[0]
        if len({batch.has_graph for batch in batches}) > 1:
            raise RecordError("hard events and shower-level events cannot stand in one batch")

        def joined(name: str) -> npt.NDArray[Any]:
            return np.concatenate([getattr(batch, name) for batch in batches])

        def objects(name: str, empty: Callable[[], Any]) -> npt.NDArray[np.object_] | None:
            parts = [getattr(batch, name) for batch in batches]
            if all(part is None for part in parts):
                return None
            filled = [
                np.array([empty() for _ in range(len(b))], object) if p is None else p
                for b, p in zip(batches, parts, strict=True)
            ]
            return np.concatenate(filled)

        names = list(dict.fromkeys(name for batch in batches for name in batch.variations))
        return cls(
            particles=ak.concatenate([batch.particles for batch in batches]),
            weight=joined("weight"),
            process_id=joined("process_id"),
            scale=joined("scale"),
            alpha_qed=joined("alpha_qed"),
            alpha_qcd=joined("alpha_qcd"),
            variations={
                name: np.concatenate([b.variations.get(name, np.full(len(b), np.nan)) for b in batches])
                for name in names
            },
            comments=objects("comments", str),
            tag_attributes=objects("tag_attributes", str),
            vertices=ak.concatenate([b.vertices for b in batches]) if batches[0].has_graph else None,
            attributes=objects("attributes", dict),
        )


def invariant_mass(px: FloatArray, py: FloatArray, pz: FloatArray, energy: FloatArray) -> FloatArray:
    """Mass from the momentum, same shape as the inputs, GeV; negative for spacelike momenta."""
    squared = (energy - pz) * (energy + pz) - px**2 - py**2
    return np.asarray(np.sign(squared) * np.sqrt(np.abs(squared)), np.float64)


def rebatched(batches: Iterable[EventBatch], size: int) -> Iterable[EventBatch]:
    """Yield the same events in batches of exactly `size` (the last may be smaller).

    Raises:
        ValueError: `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"a batch cannot have {size} events; 1 or more are expected")
    waiting: list[EventBatch] = []
    held = 0
    for batch in batches:
        start = 0
        while held + len(batch) - start >= size:
            stop = start + size - held
            waiting.append(batch[start:stop])
            yield EventBatch.concatenate(waiting)
            waiting, held, start = [], 0, stop
        if start < len(batch):
            waiting.append(batch[start:])
            held += len(batch) - start
    if waiting:
        yield EventBatch.concatenate(waiting)
