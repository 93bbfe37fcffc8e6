"""LHEH5: exact round trips, the same content as pylhe in both directions, foreign versions, damage in words."""

import itertools
from pathlib import Path

import h5py
import numpy as np
import pylhe
import pytest

from mlgen.errors import InputError, OutputError
from mlgen.event_format import ReadOptions
from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.formats.lheh5 import LesHouchesHDF5
from mlgen.formats.lheh5_tables import EVENTS, INIT, PARTICLES, PROCESSES, DatasetTable
from mlgen.run_info import Beam, Process, RunInfo, Variation

SHARED = Path(__file__).parents[3] / "shared" / "data" / "lhe"
VARIATIONS = ("1001", "MUR=0.5 MUF=1.0", "ct10", "a/b.c <&> \"'é", "trials", "weight")
RUN_INFO = RunInfo(
    beams=(Beam(2212, 6500.0, 0, 247000), Beam(-2212, 6500.0, 0, 247000)),
    weight_strategy=-4,
    processes=(Process(1, 0.1 + 0.2, 1e-300, -0.0), Process(2, 5.5, 0.1, 1.0)),
    variations=tuple(
        Variation(name, f"about {name}", {"MUR": "0.5"}, 0 if i < 2 else None) for i, name in enumerate(VARIATIONS)
    ),
    variation_groups=({"combine": "envelope"},),
    header="<!-- é -->\n<header>\n<slha>1 é &lt;</slha>\n</header>",
    init_text="<generator name='G' version='1' by='me'>it</generator>\n# more",
    generator="G 1",
    provenance=({"plugin": "cfm", "seed": 1},),
    foreign={"lheh5": {"npLO": [2, None], "npNLO": [None, 3], "description": "a description"}},
)


def made(n: int, seed: int = 0, *, names: tuple[str, ...] = VARIATIONS, **others: object) -> EventBatch:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 7, n)
    total = int(counts.sum())
    columns = {name: rng.integers(-(2**31), 2**31, total) for name in PARTICLE_COLUMNS[:6]}
    columns |= {name: rng.normal(0, 1e3, total) for name in PARTICLE_COLUMNS[6:]}
    columns["px"][::3] = -0.0
    variations = {name: rng.normal(size=n) for name in names}
    for values in variations.values():
        values[rng.random(n) < 0.2] = np.nan
    return EventBatch.from_columns(
        counts,
        columns,
        weight=rng.normal(size=n),
        process_id=rng.integers(-(2**53), 2**53, n),
        scale=rng.normal(size=n),
        alpha_qed=rng.normal(size=n),
        alpha_qcd=np.full(n, -1.0),
        variations=variations,
        **others,
    )


def write(path: Path, run_info: RunInfo, *batches: EventBatch) -> Path:
    writer = LesHouchesHDF5().writer(path, run_info)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return path


def read(path: Path, **options: object) -> list[EventBatch]:
    with LesHouchesHDF5().reader(path, ReadOptions(str(path), **options)) as reader:
        return list(reader)


def run_info_of(path: Path) -> RunInfo:
    with LesHouchesHDF5().reader(path, ReadOptions(str(path))) as reader:
        return reader.run_info


def same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    first, second = np.asarray(first), np.asarray(second)
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def texts(values: np.ndarray | None) -> list[str] | None:
    return None if values is None else values.tolist()


def assert_same(first: EventBatch, second: EventBatch) -> None:
    assert same_bits(first.counts, second.counts)
    for name in PARTICLE_COLUMNS:
        assert same_bits(first.column(name), second.column(name)), name
    for name in ("weight", "process_id", "scale", "alpha_qed", "alpha_qcd"):
        assert same_bits(getattr(first, name), getattr(second, name)), name
    assert list(first.variations) == list(second.variations)
    for name, values in first.variations.items():
        assert same_bits(values, second.variations[name]), name
    assert texts(first.comments) == texts(second.comments)
    assert texts(first.tag_attributes) == texts(second.tag_attributes)


def objects(values: list[str]) -> np.ndarray:
    return np.array(values, object)


def compare_with_pylhe(batches: list[EventBatch], events: list[pylhe.LHEEvent]) -> None:
    batch = EventBatch.concatenate(batches)
    assert len(batch) == len(events)
    info = [event.eventinfo for event in events]
    assert batch.counts.tolist() == [i.nparticles for i in info]
    assert batch.process_id.tolist() == [i.pid for i in info]
    for name, theirs in (("weight", "weight"), ("scale", "scale"), ("alpha_qed", "aqed"), ("alpha_qcd", "aqcd")):
        assert getattr(batch, name).tolist() == [getattr(i, theirs) for i in info]
    particles = list(itertools.chain.from_iterable(event.particles for event in events))
    for name, theirs in zip(PARTICLE_COLUMNS, PARTICLES, strict=True):
        assert batch.column(name).tolist() == [getattr(p, theirs) for p in particles], name
    for name, values in batch.variations.items():
        np.testing.assert_array_equal(values, [event.weights[name] for event in events])


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    first = made(30, 1)
    second = made(
        30,
        2,
        comments=objects([f"# {i}\n<x a='é'>\t\n" * (i % 40) for i in range(30)]),
        tag_attributes=objects([f' npLO="{i}"' if i % 2 else "" for i in range(30)]),
    )
    path = write(tmp_path / "a.part", RUN_INFO, first, second, made(10, 3))
    assert LesHouchesHDF5().recognises(path.read_bytes()[:4096])
    assert run_info_of(path) == RUN_INFO
    (batch,) = read(path)
    assert_same(batch, EventBatch.concatenate([first, second, made(10, 3)]))


@pytest.mark.parametrize(
    ("attributes", "comment", "columns"),
    [
        (' trials="3.0"', '<scales fscale="91.2" rscale="45.6"/>', (3.0, 91.2, 45.6)),
        (' npLO="1" trials="3"', "# x\n<scales muf='91.2' mur='1e2' mups='2'/>", (3.0, 91.2, 100.0)),
        (' trials="nan"', '<scales rscale="inf"/>', (np.nan, np.nan, np.inf)),
        (' trials="many"', "<scales/>", (np.nan, np.nan, np.nan)),
        ("", "", (np.nan, np.nan, np.nan)),
    ],
)
def test_trials_and_scales_are_columns(
    tmp_path: Path, attributes: str, comment: str, columns: tuple[float, float, float]
) -> None:
    other = "# another"
    batch = made(3, tag_attributes=objects([attributes] * 3), comments=objects([comment, comment, other]))
    path = write(tmp_path / "a", RUN_INFO, batch)
    with h5py.File(path) as file:
        row = dict(zip(EVENTS, file["events"][1], strict=False))
    np.testing.assert_array_equal([row["trials"], row["fscale"], row["rscale"]], columns)
    (back,) = read(path)
    assert back.comments is not None
    assert back.comments.tolist() == [comment, comment, other]
    assert texts(back.tag_attributes) == ([attributes] * 3 if attributes else None)


def test_texts_that_the_columns_give_are_not_kept_twice(tmp_path: Path) -> None:
    batch = made(2, tag_attributes=objects([' trials="1.0"'] * 2), comments=objects(['<scales fscale="2.0"/>'] * 2))
    with h5py.File(write(tmp_path / "a", RUN_INFO, batch)) as file:
        assert list(file["mlgen"]) == ["run_info"]


@pytest.mark.parametrize("run_info", [RUN_INFO, RunInfo()])
def test_an_empty_file_keeps_its_run_info(tmp_path: Path, run_info: RunInfo) -> None:
    path = write(tmp_path / "a", run_info)
    assert run_info_of(path) == run_info
    assert read(path) == []
    assert list(pylhe.LHEFile.fromfile(path).events) == []


def test_many_variations_and_missing_ones(tmp_path: Path) -> None:
    names = tuple(f"muR={i} muF={i / 7}" for i in range(145))
    whole, part = made(20, 3, names=names), made(20, 4, names=names[40:60])
    (batch,) = read(write(tmp_path / "a", RunInfo().with_variations(names), whole, part))
    assert_same(batch[:20], whole)
    for index, name in enumerate(names):
        expected = part.variations[name] if 40 <= index < 60 else np.full(20, np.nan)
        np.testing.assert_array_equal(batch.variations[name][20:], expected)


def test_batches_have_the_size_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlgen.formats.columnar.PIECE_EVENTS", 64)
    monkeypatch.setattr("mlgen.formats.lheh5_reader.PIECE_EVENTS", 70)
    batches = [
        made(n, n, comments=objects([f"# {n} {i}" * (i % 3) for i in range(n)]) if n % 2 else None)
        for n in (4, 1, 200, 0, 31)
    ]
    path = write(tmp_path / "a", RUN_INFO, *batches)
    back = read(path, batch_size=50)
    assert [len(batch) for batch in back] == [50, 50, 50, 50, 36]
    assert_same(EventBatch.concatenate(back), EventBatch.concatenate(batches))


def test_pylhe_reads_what_is_written(tmp_path: Path) -> None:
    batch = made(
        40,
        5,
        tag_attributes=objects([f' trials="{i}.0"' for i in range(40)]),
        comments=objects([f'<scales fscale="{i}.5" rscale="2.0"/>' for i in range(40)]),
    )
    path = write(tmp_path / "a.hdf5", RUN_INFO, batch)
    file = pylhe.LHEFile.fromfile(path)
    assert file.init.initInfo == pylhe.LHEInitInfo(2212, -2212, 6500.0, 6500.0, 0, 0, 247000, 247000, -4, 2)
    assert [(p.procId, p.xSection, p.error, p.unitWeight, p.npLO, p.npNLO) for p in file.init.procInfo] == [
        (1, 0.1 + 0.2, 1e-300, -0.0, 2, None),
        (2, 5.5, 0.1, 1.0, None, 3),
    ]
    assert file.init.generators == [pylhe.LHEGenerator("G", "1", "it", {"by": "me"})]
    assert file.comment == "a description"
    assert [element.tag for element in file.header.extra_elements] == ["slha"]
    columns = [*VARIATIONS[:4], "trials (named weight)", "weight (named weight)"]
    assert file.header.initrwgt.list_weights_ids() == columns
    assert file.header.initrwgt.entries[0].weights[1].name == "about MUR=0.5 MUF=1.0"
    events = list(file.events)
    renamed = dict(zip(columns, batch.variations.values(), strict=True))
    per_event = (batch.process_id, batch.scale, batch.alpha_qed, batch.alpha_qcd)
    names = ("process_id", "scale", "alpha_qed", "alpha_qcd")
    compare_with_pylhe(
        [EventBatch(batch.particles, batch.weight, variations=renamed, **dict(zip(names, per_event, strict=True)))],
        events,
    )
    assert [event.attributes for event in events] == [{"trials": f"{i}.0"} for i in range(40)]
    assert [event.scales for event in events] == [{"fscale": i + 0.5, "rscale": 2.0} for i in range(40)]


def pylhe_file(path: Path) -> list[pylhe.LHEEvent]:
    rng = np.random.default_rng(6)
    ids = ["1001", "MUR=2"]
    events = [
        pylhe.LHEEvent(
            pylhe.LHEEventInfo(2, 7, *rng.normal(size=4).tolist()),
            [pylhe.LHEParticle(21, -1, 0, 0, 501, 502, *rng.normal(size=7).tolist()) for _ in range(2)],
            weights=dict(zip(ids, rng.normal(size=2).tolist(), strict=True)),
            attributes={"trials": "4"} if i else {},
            scales={"fscale": 1.5, "rscale": 0.1 + 0.2} if i else {},
        )
        for i in range(30)
    ]
    group = pylhe.LHEInitRWGTWeightGroup(
        "scales", "envelope", [pylhe.LHEInitRWGTWeight(name, f"about {name}", {"PDF": "1"}) for name in ids]
    )
    header = pylhe.LHEHeader(pylhe.LHEInitRWGT([group]))
    init = pylhe.LHEInit(
        pylhe.LHEInitInfo(2212, 11, 1.5, 2.5, -1, 0, 10042, 3, -3, 1),
        [pylhe.LHEProcInfo(1.5, 0.5, 3.0, 7, 2, None)],
        [pylhe.LHEGenerator("Sherpa", "3.0", "text", {"a": "b"})],
    )
    lhe = pylhe.LHEFile(init=init, header=header, events=events, comment="by hand")
    lhe.tofile(path, lheformat=pylhe.HDF5_GZ_FORMAT)
    return events


def test_a_file_of_pylhe(tmp_path: Path) -> None:
    events = pylhe_file(tmp_path / "a.h5")
    run_info = run_info_of(tmp_path / "a.h5")
    assert run_info == RunInfo(
        beams=(Beam(2212, 1.5, -1, 10042), Beam(11, 2.5, 0, 3)),
        weight_strategy=-3,
        processes=(Process(7, 1.5, 0.5, 3.0),),
        variations=tuple(Variation(name, f"about {name}", {"PDF": "1"}, 0) for name in ("1001", "MUR=2")),
        variation_groups=({"name": "scales", "combine": "envelope"},),
        init_text='<generator a="b" name="Sherpa" version="3.0">text</generator>',
        generator="Sherpa 3.0",
        foreign={"lheh5": {"npLO": [2], "npNLO": [None], "description": "by hand"}},
    )
    (batch,) = read(tmp_path / "a.h5")
    compare_with_pylhe([batch], events)
    assert batch.tag_attributes.tolist() == ["", *[' trials="4.0"'] * 29]
    assert batch.comments.tolist() == ["", *['<scales fscale="1.5" rscale="0.30000000000000004"/>'] * 29]
    # Once more through mlgen: the same tables.
    write(tmp_path / "b.h5", run_info, batch)
    with h5py.File(tmp_path / "a.h5") as first, h5py.File(tmp_path / "b.h5") as second:
        for name in ("init", "procInfo", "events", "particles", "generators", "version"):
            np.testing.assert_array_equal(first[name][()], second[name][()], err_msg=name)
            if name != "version":
                assert first[name].attrs["properties"].tolist() == second[name].attrs["properties"].tolist(), name
    assert pylhe.LHEFile.fromfile(tmp_path / "b.h5").header.initrwgt.entries == [
        pylhe.LHEInitRWGTWeightGroup(
            "scales",
            "envelope",
            [pylhe.LHEInitRWGTWeight(name, f"about {name}", {"PDF": "1"}) for name in ("1001", "MUR=2")],
        )
    ]


def test_the_file_of_hpcgen(tmp_path: Path) -> None:
    path = SHARED / "hpcgen.hdf5"
    if not path.exists():
        pytest.skip("the shared data are not there")
    batches = read(path, batch_size=30)
    assert [len(batch) for batch in batches] == [30, 30, 30, 10]
    compare_with_pylhe(batches, list(pylhe.LHEFile.fromfile(path).events))
    run_info = run_info_of(path)
    write(tmp_path / "b.h5", run_info, *batches)
    with h5py.File(path) as first, h5py.File(tmp_path / "b.h5") as second:
        for name in ("init", "procInfo", "events", "particles"):
            assert first[name][()].tobytes() == second[name][()].tobytes(), name


@pytest.mark.parametrize("with_index", [False, True])
def test_version_1(tmp_path: Path, with_index: bool) -> None:
    batch = made(12, 7, names=("up", "down"))
    columns = batch.columns()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, value in zip(INIT, (2212, 2212, 1.0, 2.0, 0, 0, 1, 2, 4, 1), strict=True):
            file[f"init/{name}"] = np.array([value])
        for name, value in zip(PROCESSES, (1, 2, -1, 3.0, 0.5, 1.0), strict=True):
            file[f"procInfo/{name}"] = np.array([value])
        for name, theirs in zip(PARTICLE_COLUMNS, PARTICLES, strict=True):
            file[f"particle/{theirs}"] = columns[name]
        event = file.create_group("event")
        event["nparticles"], event["pid"] = batch.counts, batch.process_id
        file["index/start" if with_index else "event/start"] = batch.offsets[:-1]
        event["trials"] = np.ones(12)
        event["scale"], event["aqed"], event["aqcd"] = batch.scale, batch.alpha_qed, batch.alpha_qcd
        weights = np.stack([batch.weight, *batch.variations.values()], axis=1)
        event["weight"] = weights[:, 0] if with_index else weights
        if not with_index:
            event["weight"].attrs["names"] = ["NOMINAL", "up", "down"]
    run_info = run_info_of(tmp_path / "a.h5")
    assert run_info.beams == (Beam(2212, 1.0, 0, 1), Beam(2212, 2.0, 0, 2))
    assert run_info.processes == (Process(1, 3.0, 0.5, 1.0),)
    (back,) = read(tmp_path / "a.h5")
    variations = {} if with_index else batch.variations
    assert_same(
        back,
        EventBatch(
            *(batch.particles, batch.weight, batch.process_id, batch.scale, batch.alpha_qed, batch.alpha_qcd),
            variations,
            tag_attributes=objects([' trials="1.0"'] * 12),
        ),
    )


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    writer = LesHouchesHDF5().writer(tmp_path / "a", RUN_INFO)
    with pytest.raises(OutputError, match=r"a weight '1002' .*; did you mean '1001'\?"):
        writer.write(made(3, names=("1002",)))
    shower = EventBatch.from_columns(
        np.ones(1, int),
        {name: np.zeros(1) for name in PARTICLE_COLUMNS},
        weight=1.0,
        vertex_counts=np.ones(1, int),
        vertex_columns={name: np.zeros(1) for name in ("x", "y", "z", "t", "status")},
    )
    with pytest.raises(OutputError, match="hard events only; write HepMC"):
        writer.write(shower)
    wide = EventBatch.from_columns(
        np.ones(1, int), {name: np.zeros(1) for name in PARTICLE_COLUMNS}, weight=1.0, process_id=2**53 + 1
    )
    with pytest.raises(OutputError, match="process id 9007199254740993 does not fit"):
        writer.write(wide)
    writer.close()
    assert read(tmp_path / "a") == []


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "message"),
    [
        ("events", 4, "NOMINAL", np.nan, "its weight is nan"),
        ("events", 4, "nparticles", 1.5, "nparticles is 1.5; a whole number is expected"),
        ("events", 4, "nparticles", 1e6, "its particles do not lie within the"),
        ("events", 4, "start", -1.0, "its particles do not lie within the"),
        ("events", 4, "pid", np.inf, "pid is inf; a whole number"),
        ("particles", None, "px", -np.inf, "px of particle 1 is -inf; a finite number is expected"),
        ("particles", None, "color1", 0.5, "a particle's color1 is 0.5; a whole number is expected"),
        ("particles", None, "id", 3e9, "a particle's id is 3000000000.0"),
        ("particles", None, "spin", None, ""),
    ],
)
def test_broken_events(
    tmp_path: Path, table: str, row: int | None, column: str, value: float | None, message: str
) -> None:
    batch = made(9, 8)
    path = write(tmp_path / "a.h5", RUN_INFO, batch)
    columns = EVENTS if table == "events" else PARTICLES
    with h5py.File(path, "r+") as file:
        if value is not None:
            file[table][int(batch.offsets[4]) if row is None else row, columns.index(column)] = value
    if value is None:
        assert_same(read(path)[0], batch)
        return
    with pytest.raises(InputError, match=rf"a\.h5: event 5: {message}"):
        read(path)
    with LesHouchesHDF5().reader(path, ReadOptions("a", on_error="skip")) as reader:
        back = EventBatch.concatenate(list(reader))
        assert reader.skipped.count == 1
        assert message in reader.skipped.reasons[0]
    assert_same(back, batch[np.arange(9) != 4])


def test_events_whose_particles_are_not_in_order(tmp_path: Path) -> None:
    batch = made(9, 9)
    path = write(tmp_path / "a.h5", RUN_INFO, batch)
    order = [7, 2, 3, 8, 0]
    with h5py.File(path, "r+") as file:
        rows = file["events"][()][order]
        file["events"].resize((5, rows.shape[1]))
        file["events"][...] = rows
    (back,) = read(path)
    assert_same(back, batch[np.array(order)])


def test_a_shuffled_file_is_read_in_small_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = made(400, 12)
    path = write(tmp_path / "a.h5", RUN_INFO, batch)
    order = np.random.default_rng(1).permutation(400)
    with h5py.File(path, "r+") as file:
        file["events"][...] = file["events"][()][order]
    for name, value in (("PIECE_EVENTS", 40), ("ROWS_AT_ONCE", 100), ("ROWS_OF_A_GAP", 5)):
        monkeypatch.setattr(f"mlgen.formats.lheh5_reader.{name}", value)
    sizes = []
    plain = DatasetTable.read

    def counted(table: DatasetTable, start: int, stop: int) -> np.ndarray:
        sizes.append(stop - start)
        return plain(table, start, stop)

    monkeypatch.setattr(DatasetTable, "read", counted)
    back = EventBatch.concatenate(read(path))
    assert_same(back, batch[order])
    assert max(sizes) <= 100 + 6


def test_a_file_with_gaps_between_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = made(300, 13)
    path = write(tmp_path / "a.h5", RUN_INFO, batch)
    kept = np.flatnonzero(np.random.default_rng(2).random(300) < 0.1)
    with h5py.File(path, "r+") as file:
        rows = file["events"][()][kept]
        file["events"].resize(rows.shape)
        file["events"][...] = rows
    monkeypatch.setattr("mlgen.formats.lheh5_reader.ROWS_OF_A_GAP", 10)
    (back,) = read(path)
    assert_same(back, batch[kept])


def test_a_weight_that_is_declared_twice_counts_once(tmp_path: Path) -> None:
    batch = made(5, 14, names=("up", "down", "twin"))
    path = write(tmp_path / "a.h5", RunInfo().with_variations(("up", "down", "twin")), batch)
    with h5py.File(path, "r+") as file:
        del file["mlgen"]
        for key in ("properties", "events"):
            names = file["events"].attrs[key].tolist()
            file["events"].attrs[key] = [*names[:-1], "up"]
    assert run_info_of(path).variation_names == ("up", "down")
    (back,) = read(path)
    assert same_bits(back.variations["up"], batch.variations["up"])


def test_files_that_are_no_lheh5(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["showers"] = np.zeros((3, 4))
    with pytest.raises(InputError, match=r"it has no 'events' .*; it holds showers"):
        read(path)
    write(path, RUN_INFO, made(3))
    with h5py.File(path, "r+") as file:
        del file["mlgen"]
        del file["init"]
    with pytest.raises(InputError, match="it has no 'init'"):
        read(path)
    write(path, RUN_INFO, made(3))
    with h5py.File(path, "r+") as file:
        del file["events"]
        file["events"] = np.zeros((3, 4))
    with pytest.raises(InputError, match="'events' has 4 columns, but names 10"):
        read(path)
    write(path, RUN_INFO, made(3))
    with h5py.File(path, "r+") as file:
        file["events"].attrs["properties"] = ["pid", *["?"] * 15]
    with pytest.raises(InputError, match="'events' lacks the columns nparticles, start; it has pid"):
        read(path)
    write(path, RUN_INFO, made(3))
    with h5py.File(path, "r+") as file:
        file["ctevents"] = np.zeros((3, 4))
    with pytest.raises(InputError, match="has 3 counter-events"):
        read(path)


def test_a_file_that_is_cut(tmp_path: Path) -> None:
    data = write(tmp_path / "a", RUN_INFO, made(300)).read_bytes()
    for length in (100, 2000, len(data) // 2, len(data) - 100):
        (tmp_path / "cut.h5").write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut\.h5: .*the file is cut or damaged"):
            read(tmp_path / "cut.h5")


def test_a_damaged_piece_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlgen.formats.lheh5_reader.PIECE_EVENTS", 100)
    monkeypatch.setattr("mlgen.formats.lheh5_writer.CHUNK_BYTES", 100 * 16 * 8)
    parts = [made(100, seed, comments=objects([f"{seed} {i}" for i in range(100)])) for seed in range(3)]
    path = write(tmp_path / "a", RUN_INFO, *parts)
    with h5py.File(path) as file:
        chunk = file["events"].id.get_chunk_info(1)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + 500] = b"\xff" * 500
    path.write_bytes(data)
    with pytest.raises(InputError, match="events 101 to 200 cannot be read; the file is cut or damaged"):
        read(path)
    with LesHouchesHDF5().reader(path, ReadOptions("a", on_error="skip")) as reader:
        back = EventBatch.concatenate(list(reader))
        assert reader.skipped.count == 100
    assert_same(back, EventBatch.concatenate([parts[0], parts[2]]))


def test_damage_never_ends_in_another_exception(tmp_path: Path) -> None:
    data = write(tmp_path / "a", RUN_INFO, made(50)).read_bytes()
    rng = np.random.default_rng(11)
    refused = 0
    for _ in range(100):
        changed = bytearray(data)
        place = int(rng.integers(0, len(data) - 8))
        changed[place : place + 8] = rng.bytes(8)
        (tmp_path / "b").write_bytes(changed)
        try:
            read(tmp_path / "b")
        except InputError:
            refused += 1
    assert refused >= 10
