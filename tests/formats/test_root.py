"""ROOT files: what is written comes back bit for bit, plain uproot reads it, damage is explained."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from mlgen.errors import InputError, OutputError
from mlgen.event_format import EventFormat, ReadOptions
from mlgen.events import PARTICLE_COLUMNS, VERTEX_COLUMNS, EventBatch
from mlgen.formats import columnar
from mlgen.formats.root import RootNTuple, RootTree
from mlgen.run_info import Beam, Process, RunInfo, Variation

VARIATIONS = ("1001", "MUR=0.5 MUF=1.0", "ct10", "a/b.c <&> \"'é")
RUN_INFO = RunInfo(
    beams=(Beam(2212, 6500.0, 0, 247000), Beam(-2212, 6500.0, 0, 247000)),
    weight_strategy=-4,
    processes=(Process(1, 0.1 + 0.2, 1e-300, -0.0), Process(2**40, 5.5, 0.1, 1.0)),
    variations=tuple(Variation(name, f"about {name}", {"MUR": "0.5"}, 0) for name in VARIATIONS),
    variation_groups=({"name": "scales", "combine": "envelope"},),
    header="<header>\n<slha>\n  1 é\n</slha>\n" + "# long\n" * 1000 + "</header>",
    init_text="<generator name='G' version='1'>it</generator>",
    generator="G 1",
    provenance=({"plugin": "cfm", "seed": 1},),
)


@pytest.fixture(params=[RootTree(), RootNTuple()], ids=["tree", "ntuple"])
def event_format(request: pytest.FixtureRequest) -> EventFormat:
    return request.param


def made(n: int, seed: int = 0, *, names: tuple[str, ...] = VARIATIONS, graph: bool = False, **others: object):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 7, n)
    total = int(counts.sum())
    columns = {name: rng.integers(-(2**31), 2**31, total) for name in PARTICLE_COLUMNS[:6]}
    columns |= {name: rng.normal(0, 1e3, total) for name in PARTICLE_COLUMNS[6:]}
    columns["px"][::3] = -0.0
    columns["generated_mass"][::5] = 5e-324
    if graph:
        columns["production_vertex"] = rng.integers(-1, 3, total)
        columns["end_vertex"] = rng.integers(-1, 3, total)
        vertices = rng.integers(0, 4, n)
        points = {name: rng.normal(size=int(vertices.sum())) for name in "xyzt"}
        others |= {
            "vertex_counts": vertices,
            "vertex_columns": points | {"status": rng.integers(0, 9, int(vertices.sum())).astype(np.int32)},
        }
    variations = {name: rng.normal(size=n) for name in names}
    for values in variations.values():
        values[rng.random(n) < 0.2] = np.nan
    return EventBatch.from_columns(
        counts,
        columns,
        weight=rng.normal(size=n),
        process_id=rng.integers(-(2**62), 2**62, n),
        scale=rng.normal(size=n),
        alpha_qed=rng.normal(size=n),
        alpha_qcd=np.full(n, np.nan),
        variations=variations,
        **others,
    )


def write(path: Path, event_format: EventFormat, run_info: RunInfo, *batches: EventBatch) -> Path:
    writer = event_format.writer(path, run_info)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return path


def read(path: Path, **options: object) -> list[EventBatch]:
    with RootTree().reader(path, ReadOptions(str(path), **options)) as reader:
        return list(reader)


def same_bits(first: np.ndarray, second: np.ndarray) -> bool:
    first, second = np.asarray(first), np.asarray(second)
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def assert_same(first: EventBatch, second: EventBatch) -> None:
    assert same_bits(first.counts, second.counts)
    names = first.particles.fields
    assert second.particles.fields == names
    for name in names:
        assert same_bits(first.column(name), second.column(name)), name
    for name in ("weight", "process_id", "scale", "alpha_qed", "alpha_qcd"):
        assert same_bits(getattr(first, name), getattr(second, name)), name
    assert list(first.variations) == list(second.variations)
    for name, values in first.variations.items():
        assert same_bits(values, second.variations[name]), name
    for name in ("comments", "tag_attributes"):
        mine, theirs = getattr(first, name), getattr(second, name)
        assert (mine is None) == (theirs is None), name
        assert mine is None or mine.tolist() == theirs.tolist()
    assert first.has_graph == second.has_graph
    assert (first.attributes is None) == (second.attributes is None)
    if first.attributes is not None:
        assert first.attributes.tolist() == second.attributes.tolist()
    if first.has_graph:
        for name in VERTEX_COLUMNS:
            mine, theirs = first.vertices[name], second.vertices[name]
            assert same_bits(ak.num(mine), ak.num(theirs))
            assert same_bits(ak.to_numpy(ak.flatten(mine)), ak.to_numpy(ak.flatten(theirs))), name


@pytest.mark.parametrize("graph", [False, True], ids=["hard", "shower"])
def test_everything_comes_back_bit_for_bit(tmp_path: Path, event_format: EventFormat, graph: bool) -> None:
    comments = np.array([f"# {i}\n<x a='é'>\t\n\n" * (i % 40) for i in range(150)], object)
    attributes = np.array([f' npLO="{i}"' if i % 2 else "" for i in range(150)], object)
    first = made(150, 1, graph=graph)
    second = made(150, 2, graph=graph, comments=comments, tag_attributes=attributes)
    path = write(tmp_path / "a.part", event_format, RUN_INFO, first, second)
    assert RootTree().recognises(path.read_bytes()[:4096])
    with RootTree().reader(path, ReadOptions("a")) as reader:
        assert reader.run_info == RUN_INFO
        (batch,) = reader
    assert_same(batch, EventBatch.concatenate([first, second]))


def test_attributes_of_shower_level_events(tmp_path: Path, event_format: EventFormat) -> None:
    known = [{}, {"GenHeavyIon": '5 "x"', "é\n": ""}, {"signal_process_id": "221"}]
    attributes = np.array([known[i % 3] for i in range(30)], object)
    batch = made(30, 1, graph=True, attributes=attributes)
    path = write(tmp_path / "a", event_format, RUN_INFO, batch, made(5, 2, graph=True))
    (back,) = read(path)
    assert back.attributes.tolist() == [*attributes.tolist(), *[{}] * 5]
    assert_same(back[:30], batch)
    with uproot.open(path) as file:
        assert file["events"].arrays()["attributes"][2] == '{"signal_process_id": "221"}'


def test_texts_that_are_nowhere_are_none(tmp_path: Path, event_format: EventFormat) -> None:
    (batch,) = read(write(tmp_path / "a", event_format, RUN_INFO, made(5)))
    assert batch.comments is None
    assert batch.tag_attributes is None


def test_an_empty_file_keeps_its_run_info(tmp_path: Path, event_format: EventFormat) -> None:
    for index, run_info in enumerate((RUN_INFO, RunInfo())):
        path = write(tmp_path / f"{index}", event_format, run_info, *[made(0)][index:])
        with RootTree().reader(path, ReadOptions("a")) as reader:
            assert reader.run_info == run_info
            assert list(reader) == []
        with uproot.open(path) as file:
            assert file["events"].num_entries == 0


def test_many_variations_and_missing_ones(tmp_path: Path, event_format: EventFormat) -> None:
    names = tuple(f"muR={i} muF={i / 7}" for i in range(145))
    whole, part = made(20, 3, names=names), made(20, 4, names=names[40:60])
    path = write(tmp_path / "a", event_format, RunInfo().with_variations(names), whole, part)
    (batch,) = read(path)
    assert_same(batch[:20], whole)
    for index, name in enumerate(names):
        expected = part.variations[name] if 40 <= index < 60 else np.full(20, np.nan)
        np.testing.assert_array_equal(batch.variations[name][20:], expected)


def test_batches_have_the_size_that_is_asked_for(
    tmp_path: Path, event_format: EventFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pieces of 64 events on disk, batches of all sizes in and of 50 out.
    for module in ("columnar", "root_writer", "root_reader"):
        monkeypatch.setattr(f"mlgen.formats.{module}.PIECE_EVENTS", 64)
    batches = [made(n, n, graph=True) for n in (1, 2, 1, 200, 0, 30, 63)]
    path = write(tmp_path / "a", event_format, RUN_INFO, *batches)
    back = read(path, batch_size=50)
    assert [len(batch) for batch in back] == [50, 50, 50, 50, 50, 47]
    assert_same(EventBatch.concatenate(back), EventBatch.concatenate(batches))
    with uproot.open(path) as file:
        events = file["events"]
        pieces = (
            len(events.common_entry_offsets()) - 1 if event_format.name == "root" else len(events.cluster_summaries)
        )
    # 4 small ones are gathered; 200 = 3 * 64 + 8; 8 + 30 are gathered; 63.
    assert pieces == 6


def test_pieces_are_bounded_in_particles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "PIECE_PARTICLES", 20)
    batch = made(100, 5)
    parts = list(columnar.pieces(batch))
    assert_same(EventBatch.concatenate(parts), batch)
    assert max(int(part.counts.sum()) for part in parts) <= 20


def test_plain_uproot_reads_the_tree(tmp_path: Path) -> None:
    batch = made(30, 6, graph=True)
    path = write(tmp_path / "a.root", RootTree(), RUN_INFO, batch)
    with uproot.open(path) as file:
        assert {key.split(";")[0] for key in file.keys()} == {  # noqa: SIM118
            *("events", "mlgen_run_info", "mlgen_variation_names", "mlgen_about")
        }
        assert str(file["mlgen_variation_names"]).split("\n") == list(VARIATIONS)
        assert "G 1" in str(file["mlgen_about"])
        tree = file["events"]
        assert tree["process_id"].typename == "int64_t"
        assert tree["particles_px"].typename == "double[]"
        assert [name for name in tree.keys() if name[0] == "n"] == ["nparticles", "nvertices"]  # noqa: SIM118
        arrays = tree.arrays()
    assert arrays.particles_px.to_list() == batch.particles.px.to_list()
    assert arrays.particles_pdg_id.to_list() == batch.particles.pdg_id.to_list()
    assert arrays.nparticles.to_list() == batch.counts.tolist()
    assert arrays.vertices_x.to_list() == batch.vertices.x.to_list()
    np.testing.assert_array_equal(arrays.variations[:, 1], batch.variations["MUR=0.5 MUF=1.0"])


def test_plain_uproot_reads_the_ntuple(tmp_path: Path) -> None:
    batch = made(30, 7)
    path = write(tmp_path / "a", RootNTuple(), RUN_INFO, batch)
    with uproot.open(path) as file:
        assert file.classname_of("events") == "ROOT::RNTuple"
        arrays = file["events"].arrays()
    assert arrays.particles.energy.to_list() == batch.particles.energy.to_list()
    assert arrays.weight.to_list() == batch.weight.tolist()
    np.testing.assert_array_equal(arrays.variations[:, 3], batch.variations[VARIATIONS[3]])


def test_names_that_are_not_declared_are_refused(tmp_path: Path, event_format: EventFormat) -> None:
    writer = event_format.writer(tmp_path / "a", RunInfo().with_variations(("mur_up",)))
    with pytest.raises(OutputError, match=r"'mur_upp' .*; did you mean 'mur_up'\?"):
        writer.write(made(3, names=("mur_upp",)))
    writer.close()


def test_hard_and_shower_events_do_not_mix(tmp_path: Path) -> None:
    writer = RootTree().writer(tmp_path / "a", RUN_INFO)
    writer.write(made(3))
    with pytest.raises(OutputError, match="cannot stand in one ROOT file"):
        writer.write(made(3, graph=True))
    writer.close()


def test_a_whole_number_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    batch = made(3)
    wide = ak.with_field(batch.particles, ak.values_astype(batch.particles.pdg_id, np.int64) * 0 + 2**40, "pdg_id")
    batch = EventBatch(wide, batch.weight, batch.process_id, batch.scale, batch.alpha_qed, batch.alpha_qcd)
    writer = RootTree().writer(tmp_path / "a", RUN_INFO)
    writer.write(batch)
    with pytest.raises(OutputError, match="pdg_id 1099511627776 does not fit into 32 bits"):
        writer.close()


def broken_batch(field: str) -> EventBatch:
    batch = made(20, 8)
    columns = batch.columns()
    weight = batch.weight.copy()
    at = int(np.flatnonzero(batch.counts > 1)[3])
    if field == "weight":
        weight[at] = np.inf
    else:
        columns[field] = columns[field].copy()
        columns[field][batch.offsets[at] + 1] = np.nan
    return EventBatch.from_columns(batch.counts, columns, weight=weight), at + 1


@pytest.mark.parametrize(
    ("field", "message"), [("weight", "its weight is inf"), ("energy", "energy of particle 2 is nan")]
)
def test_numbers_that_are_not_finite(
    tmp_path: Path, event_format: EventFormat, field: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, event = broken_batch(field)
    # The writer would refuse them; other programs may not.
    monkeypatch.setattr("mlgen.formats.root_writer.check_finite", lambda *_: None)
    path = write(tmp_path / "a.root", event_format, RunInfo(), batch)
    with pytest.raises(InputError, match=rf"a\.root: event {event}: {message}") as caught:
        read(path)
    assert caught.value.event == event
    with RootTree().reader(path, ReadOptions("a", on_error="skip")) as reader:
        back = EventBatch.concatenate(list(reader))
        assert reader.skipped.count == 1
        assert message in reader.skipped.reasons[0]
    assert_same(back, batch[np.arange(20) != event - 1])


def test_another_root_file(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file["Delphes"] = {"x": np.zeros(3)}
        file["h"] = "text"
    with pytest.raises(
        InputError, match=r"a TTree or RNTuple 'events' .* it holds Delphes \(ROOT::RNTuple\), h \(TObjString\)"
    ):
        read(tmp_path / "a.root")


def test_a_tree_without_the_branches(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file["mlgen_run_info"] = RunInfo().to_json()
        file["events"] = {"weight": np.zeros(3), "pt": np.zeros(3)}
    with pytest.raises(InputError, match=r"'events' lacks process_id, scale, .*; it has pt, weight"):
        read(tmp_path / "a.root")


def test_a_file_that_is_cut(tmp_path: Path, event_format: EventFormat) -> None:
    data = write(tmp_path / "a", event_format, RUN_INFO, made(300)).read_bytes()
    for length in (100, 1000, len(data) // 4, len(data) // 2, len(data) - 100):
        cut = tmp_path / "cut.root"
        cut.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut\.root: .*the file is cut or damaged"):
            read(cut)


def test_a_damaged_piece_can_be_left_out(
    tmp_path: Path, event_format: EventFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("columnar", "root_writer", "root_reader"):
        monkeypatch.setattr(f"mlgen.formats.{module}.PIECE_EVENTS", 100)
    first, second, third = made(100, 1), made(100, 2), made(100, 3)
    path = write(tmp_path / "a", event_format, RUN_INFO, first, second, third)
    with uproot.open(path) as file:
        if event_format.name == "root":
            place = int(file["events"]["particles_px"].member("fBasketSeek")[1])
            message, whole = "events 101 to 200 cannot be read", [first, third]
        else:
            pages = [column.pages[0] for column in file["events"].page_link_list[1] if column.pages]
            place = int(max(pages, key=lambda page: page.locator.num_bytes).locator.offset)
            # uproot reads the cluster after the one that it is asked for, so that the first piece is lost too.
            message, whole = "events 1 to 100 cannot be read", [third]
    data = bytearray(path.read_bytes())
    data[place : place + 200] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{message}; the file is cut or damaged"):
        read(path)
    with RootTree().reader(path, ReadOptions("a", on_error="skip")) as reader:
        back = EventBatch.concatenate(list(reader))
        assert reader.skipped.count == 300 - 100 * len(whole)
    assert_same(back, EventBatch.concatenate(whole))


def test_damage_never_ends_in_another_exception(tmp_path: Path, event_format: EventFormat) -> None:
    data = write(tmp_path / "a", event_format, RUN_INFO, made(50)).read_bytes()
    rng = np.random.default_rng(11)
    damaged, refused = tmp_path / "b", 0
    for _ in range(60):
        changed = bytearray(data)
        place = int(rng.integers(0, len(data) - 8))
        changed[place : place + 8] = rng.bytes(8)
        damaged.write_bytes(changed)
        try:
            read(damaged)
        except InputError:
            refused += 1
    assert refused >= 10
