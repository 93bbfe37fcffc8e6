"""Les Houches files: what is read is what pylhe reads, and what is written is what was read."""

import io
from pathlib import Path

import awkward as ak
import numpy as np
import pylhe
import pytest

from mlgen.errors import InputError, OutputError
from mlgen.event_format import ReadOptions
from mlgen.events import PARTICLE_COLUMNS, EventBatch
from mlgen.formats.lhe import LesHouches
from mlgen.run_info import Beam, Process, RunInfo, Variation

DIALECTS = Path(__file__).parent / "dialects"
REAL_FILES = (
    "madgraph-2.0.0-wbj.lhe",
    "madgraph-2.2.1-Z-mlm.lhe.gz",
    "madgraph-3.7.1-gg_ttg.lhe.gz",
    "madgraph-3.7.1-pp_tt012j.lhe.gz",
    "madgraph5-3.5.8-pp_to_jj.lhe.gz",
    "powheg-box-v2-W.lhe",
    "powheg-box-v2-Zj.lhe",
    "pythia-6.413-ttbar.lhe",
    "pythia-8.3.14-weakbosons.lhe",
)
NAMES_IN_PYLHE = {"pdg_id": "id", "energy": "e", "generated_mass": "m"}


def read(content: bytes, **options):
    reader = LesHouches().reader(io.BytesIO(content), ReadOptions("test.lhe", **options))
    return reader, list(reader)


def written(run_info: RunInfo, batches) -> bytes:
    target = io.BytesIO()
    writer = LesHouches().writer(target, run_info)
    for batch in batches:
        writer.write(batch)
    writer.close()
    return target.getvalue()


def assert_same(first: EventBatch, second: EventBatch) -> None:
    assert ak.array_equal(first.particles, second.particles)
    for name in ("weight", "process_id", "scale", "alpha_qed", "alpha_qcd"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name
    assert list(first.variations) == list(second.variations)
    for name, values in first.variations.items():
        assert np.array_equal(values, second.variations[name], equal_nan=True), name
    for name in ("comments", "tag_attributes"):
        mine, theirs = getattr(first, name), getattr(second, name)
        assert (mine is None) == (theirs is None), name
        assert mine is None or mine.tolist() == theirs.tolist()


def uncompressed(path: Path) -> bytes:
    import gzip

    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def assert_equals_pylhe(content: bytes, batch: EventBatch, run_info: RunInfo, tmp_path: Path) -> None:
    path = tmp_path / "for-pylhe.lhe"
    # pylhe does not read Fortran's exponents.
    path.write_bytes(content)
    file = pylhe.LHEFile.fromfile(str(path))
    events = list(file.events)
    assert len(batch) == len(events)
    for name in PARTICLE_COLUMNS:
        theirs = [getattr(p, NAMES_IN_PYLHE.get(name, name)) for e in events for p in e.particles]
        assert batch.column(name).tolist() == theirs, name
    assert batch.weight.tolist() == [e.eventinfo.weight for e in events]
    assert batch.scale.tolist() == [e.eventinfo.scale for e in events]
    assert batch.alpha_qcd.tolist() == [e.eventinfo.aqcd for e in events]
    assert batch.alpha_qed.tolist() == [e.eventinfo.aqed for e in events]
    assert batch.process_id.tolist() == [e.eventinfo.pid for e in events]
    assert set(batch.variations) == {name for e in events for name in e.weights}
    for name, values in batch.variations.items():
        assert np.array_equal(values, [e.weights.get(name, np.nan) for e in events], equal_nan=True), name
    init = file.init
    assert run_info.weight_strategy == init.initInfo.weightingStrategy
    assert [b.pdg_id for b in run_info.beams] == [init.initInfo.beamA, init.initInfo.beamB]
    assert [b.energy for b in run_info.beams] == [init.initInfo.energyA, init.initInfo.energyB]
    assert [p.cross_section for p in run_info.processes] == [p.xSection for p in init.procInfo]
    assert [p.process_id for p in run_info.processes] == [p.procId for p in init.procInfo]


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_file_reads_like_pylhe_and_is_written_back_whole(name, shared_data, tmp_path):
    content = uncompressed(shared_data / "lhe" / name)
    reader, batches = read(content, batch_size=4000)
    batch = EventBatch.concatenate(batches)
    assert_equals_pylhe(content, batch, reader.run_info, tmp_path)

    again, copies = read(written(reader.run_info, batches))
    assert again.run_info == reader.run_info
    assert_same(EventBatch.concatenate(copies), batch)


@pytest.mark.parametrize("name", ["whizard", "sherpa"])
def test_dialect_reads_like_pylhe(name, tmp_path):
    content = (DIALECTS / f"{name}.lhe").read_bytes()
    reader, [batch] = read(content)
    if name == "whizard":
        # pylhe refuses a <weights> list that no header declares.
        assert batch.variations["weight_1"].tolist() == [1.0]
        content = content.replace(b"<weights>  1.0000000000E+00 </weights>\n", b"")
        _, [plain] = read(content)
        assert_equals_pylhe(content, plain, reader.run_info, tmp_path)
    else:
        assert_equals_pylhe(content, batch, reader.run_info, tmp_path)
    assert reader.run_info.generator.lower() == name


def test_everything_of_a_hard_dialect_survives():
    content = (DIALECTS / "thepeg.lhe").read_bytes()
    reader, [batch] = read(content)
    info = reader.run_info
    assert info.generator == "Herwig 7.3.0"
    assert info.beams == (Beam(2212, 6500.0, 0, 21100), Beam(2212, 6500.0, 0, 21100))
    assert info.processes == (Process(7, 10.0, 0.1, 1.0), Process(8, 2.0, 0.02, 1.0))
    assert info.cross_section == 12.0
    assert info.cross_section_error == pytest.approx(np.hypot(0.1, 0.02), rel=1e-15)
    assert info.variations[0] == Variation("loose", "outside any group")
    assert info.variations[1] == Variation("MUR=0.5 MUF=1", "muR down <1>", {"MUR": "0.5"}, 0)
    assert info.variation_groups == ({"name": "PDF & scale", "combine": "envelope"},)
    assert "anything && everything < here" in info.header
    assert "initrwgt" not in info.header
    assert batch.weight.tolist() == [1.0, -1.0]
    assert batch.variations["MUR=2 MUF=1"][0] == -0.75
    assert np.isnan(batch.variations["MUR=2 MUF=1"][1])
    assert batch.variations["undeclared"][1] == 3.0
    assert batch.comments.tolist() == ['<scales muf="91.2" mur="45.6"></scales>', "# last words"]
    assert batch.tag_attributes.tolist() == [' npLO="1" npNLO="-1"', ' npLO="0" npNLO="1"']
    assert np.signbit(batch.column("py")[1])
    assert batch.column("lifetime")[2] == 1e-13

    again, [copy] = read(written(info, [batch]))
    assert_same(copy, batch)
    # The reader now finds the undeclared weight declared; nothing else differs.
    assert again.run_info == info


def test_pylhe_reads_what_is_written(tmp_path):
    reader, [batch] = read((DIALECTS / "thepeg.lhe").read_bytes())
    # pylhe wants well-formed XML, which this header is not.
    info = reader.run_info.replace(header="")
    content = written(info, [batch])
    again, [copy] = read(content)
    assert_equals_pylhe(content, copy, again.run_info, tmp_path)


def random_batch(n: int, rng: np.random.Generator) -> EventBatch:
    counts = rng.integers(3, 9, n)
    total = int(counts.sum())
    columns = {
        "pdg_id": rng.choice([21, 1, -1, 6, -6, 1000021], total),
        "status": rng.choice([-1, 1, 2], total),
        "color1": rng.integers(0, 600, total),
        **{name: rng.normal(size=total) * 10.0 ** rng.integers(-12, 8, total) for name in ("px", "py", "pz", "energy")},
        "lifetime": rng.exponential(size=total),
        "spin": rng.choice([-1.0, 1.0, 9.0], total),
    }
    return EventBatch.from_columns(
        counts,
        columns,
        weight=rng.normal(size=n),
        process_id=rng.integers(1, 5, n),
        scale=rng.exponential(size=n),
        variations={'odd "name" <&> %d': rng.normal(size=n), "2": np.where(rng.random(n) < 0.5, np.nan, 1 / 3)},
    )


def test_every_float_reads_back_the_same():
    batch = random_batch(200, np.random.default_rng(5))
    info = RunInfo(weight_strategy=-4, processes=(Process(1, 1 / 3, 1e-300, 0.1),)).with_variations(
        tuple(batch.variations)
    )
    reader, [copy] = read(written(info, [batch]))
    assert_same(copy, batch)
    assert reader.run_info.processes == info.processes


def test_provenance_survives_and_leaves_the_header_alone():
    info = RunInfo(header="<!-- before -->\n<header>\n<a> ]]> </a>\n</header>", weight_strategy=3)
    info = info.replace(provenance=({"program": "mlgen", "card": "]]> <&>"},))
    reader, batches = read(written(info, []))
    assert batches == []
    assert reader.run_info.provenance == info.provenance
    assert reader.run_info.header == info.header


def test_batches_have_the_size_asked_for():
    batch = random_batch(25, np.random.default_rng(1))
    content = written(RunInfo(), [batch])
    _, batches = read(content, batch_size=10)
    assert [len(b) for b in batches] == [10, 10, 5]
    assert_same(EventBatch.concatenate(batches), batch)


GOOD = (DIALECTS / "sherpa.lhe").read_bytes()
PARTICLE = b"21   -1    0    0    501   502    0    0    60    60    0    0    9"
BROKEN = {
    "nan momentum": (GOOD.replace(b"60    60", b"nan   60", 1), 1, 13, "pz is nan"),
    "infinite weight": (GOOD.replace(b"-0.375", b"inf", 1), 2, 21, "weight is inf"),
    "too few particles": (GOOD.replace(b"     5   9999   0.8125", b"     6   9999   0.8125"), 1, 12, "announces 6"),
    "too many particles": (GOOD.replace(b"     5   9999   0.8125", b"     4   9999   0.8125"), 1, 12, "announces 4"),
    "short particle": (GOOD.replace(PARTICLE, PARTICLE[:-4], 1), 1, 13, "has 12 entries; 13 are expected"),
    "long particle": (GOOD.replace(PARTICLE, PARTICLE + b" 1", 1), 1, 13, "has 14 entries; 13 are expected"),
    "word": (GOOD.replace(b"-10    10", b"ten    10", 1), 1, 15, "'ten' where a number is expected"),
    "fractional id": (GOOD.replace(b" 21   -1", b" 2.1  -1", 1), 1, 13, "pdg_id is 2.1; a whole number"),
    "mother": (GOOD.replace(b"11    1    1    2", b"11    1    1    7", 1), 1, 15, "mother2 is 7"),
    "header": (GOOD.replace(b"91.188         0.00754677     0.118", b"91.188"), 1, 12, "first line has 4 entries"),
    "not closed": (GOOD.replace(b"</event>", b"", 1), 1, 20, "before this one is closed"),
    "no particles": (GOOD.replace(b"     5   9999   0.8125", b"     0   9999   0.8125"), 1, 12, "announces 0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_event_is_named_with_its_line(case):
    content, event, line, problem = BROKEN[case]
    with pytest.raises(InputError) as caught:
        read(content)
    assert (caught.value.event, caught.value.line) == (event, line)
    assert problem in caught.value.problem
    assert "--on-error skip" in str(caught.value)


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_event_can_be_skipped(case):
    content, event, _, problem = BROKEN[case]
    reader, [batch] = read(content, on_error="skip")
    assert batch.weight.tolist() == ([0.8125] if event == 2 else [-0.375])
    assert reader.skipped.count == 1
    assert problem in reader.skipped.reasons[0]


HARD = (DIALECTS / "thepeg.lhe").read_bytes()


@pytest.mark.parametrize(
    ("before", "after", "line", "problem"),
    [
        (b"1.25 </wgt>", b"abc </wgt>", 31, "a named weight is 'abc'"),
        (b" 1.25 </wgt>", b"</wgt>", 31, "a named weight is ''"),
        (b"1.25 </wgt>", b"nan </wgt>", 31, "a named weight is 'nan'"),
        (b"  3 7 1.0D0", b"  nan 7 1.0", 24, "announces nan particles"),
        (b"  3 7 1.0D0", b"  3 1.7 1.0", 24, "process is 1.7"),
        (b"  3 7 1.0D0", b"  3 1e30 1.0", 24, "process is 1e+30"),
        (b"91.2D0 0.00781 0.118", b"inf 0.00781 0.118", 24, "scale is inf"),
        (b"</rwgt>", b"", 29, "<rwgt> is not closed"),
        (b" 2 -1 0 0 501 0 0.0D0 0.0D0 45.6D0", b" 2 -1 0 0 5000000000 0 0. 0. 45.6", 25, "must fit into 32 bits"),
    ],
)
def test_a_broken_event_of_a_hard_dialect(before, after, line, problem):
    content = HARD.replace(before, after, 1)
    with pytest.raises(InputError) as caught:
        read(content)
    assert (caught.value.event, caught.value.line) == (1, line)
    assert problem in caught.value.problem
    reader, [batch] = read(content, on_error="skip")
    assert (len(batch), reader.skipped.count) == (1, 1)


def test_files_joined_end_to_end_are_not_read_as_one():
    with pytest.raises(InputError, match=r"event 3 .*a second <init> begins here") as caught:
        read(HARD + HARD)
    assert caught.value.line == HARD.count(b"\n") + HARD[: HARD.index(b"<init>")].count(b"\n") + 1


def test_event_groups_and_blank_lines_are_read():
    content = HARD.replace(b'<event npLO="1"', b'<eventgroup n="2">\n<event npLO="1"')
    content = content.replace(b" 23  1 1 2", b"\n  \n 23  1 1 2")
    _, [batch] = read(content)
    _, [plain] = read(HARD)
    assert_same(batch, plain)


def test_tags_in_comments_are_mere_words():
    content = HARD.replace(b"<!--", b"<!-- <init> nothing </init> <event> </event>", 1)
    content = content.replace(b"<init>\n", b"<init>\n<!-- beams of <init> -->\n", 1)
    content = content.replace(b"<generator name", b"# after <init> comes <event>\n<generator name", 1)
    content = content.replace(b'<event npLO="0"', b'<!-- between <event> events -->\n<event npLO="0" a="x>y"', 1)
    reader, [batch] = read(content)
    assert reader.run_info.cross_section == 12.0
    assert batch.weight.tolist() == [1.0, -1.0]
    assert batch.tag_attributes[1] == ' npLO="0" a="x>y" npNLO="1"'
    again, [copy] = read(written(reader.run_info, [batch]))
    assert_same(copy, batch)
    assert "beams of <init>" in again.run_info.init_text


def test_lists_of_weights_of_any_length():
    name = b"<rwgt>\n<wgt id='loose'> -1.5 </wgt>\n<wgt id='undeclared'> 3 </wgt>\n</rwgt>"
    content = HARD[: HARD.index(b"<rwgt>")] + b"<weights> 1 2 </weights>\n" + HARD[HARD.index(b"<scales") :]
    _, [batch] = read(content.replace(name, b"<weights> 7 8 9 </weights>"))
    assert batch.variations["loose"].tolist() == [1.0, 7.0]
    assert np.isnan(batch.variations["MUR=2 MUF=1"][0])
    assert batch.variations["MUR=2 MUF=1"][1] == 9.0


def test_a_weight_that_is_declared_twice_keeps_its_place_in_bare_lists():
    content = HARD.replace(b"<weight id='MUR=0.5 MUF=1'", b"<weight id='loose'", 1)
    name = b"<rwgt>\n<wgt id='loose'> -1.5 </wgt>\n<wgt id='undeclared'> 3 </wgt>\n</rwgt>"
    reader, [batch] = read(content.replace(name, b"<weights> 7 8 9 </weights>"))
    assert reader.run_info.variation_names[:3] == ("loose", "loose (2)", "MUR=2 MUF=1")
    values = [batch.variations[name][1] for name in reader.run_info.variation_names[:3]]
    assert values == [7.0, 8.0, 9.0]


def test_a_header_of_many_megabytes():
    filler = b"<!-- " + b"some words </init\n" * 400_000 + b"-->\n"
    reader, [batch] = read(HARD.replace(b"<header>", filler + b"<header>", 1))
    assert len(batch) == 2
    assert len(reader.run_info.header) > len(filler)


def test_several_blocks_of_weights():
    _, [batch] = read(HARD.replace(b"<scales", b"<rwgt><wgt pid='1' id='late'> 5 </wgt></rwgt>\n<scales", 1))
    assert batch.variations["late"][0] == 5.0
    assert batch.variations["loose"][0] == 1.5


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (b"0.100000D+02 ", b"nan ", "not finite"),
        (b"0.65D+04  0.65D+04", b"inf 6500.", "finite energies"),
        (b" -3 2\n", b" -3 -2\n", "number of processes"),
    ],
)
def test_an_init_that_makes_no_sense(before, after, problem):
    with pytest.raises(InputError, match=problem):
        read(HARD.replace(before, after, 1))


def test_remarks_after_numbers_are_left_out():
    _, [batch] = read(HARD.replace(b"91.2D0 0.1D-12 0.", b"91.2D0 0.1D-12 0. # a Z"))
    assert batch.column("lifetime")[2] == 1e-13


def test_a_weight_that_an_event_has_twice_is_kept_twice():
    _, [batch] = read(HARD.replace(b"'MUR=0.5 MUF=1'> 1.25", b"'loose'> 1.25"))
    assert batch.variations["loose"].tolist() == [1.5, -1.5]
    assert batch.variations["loose (2)"][0] == 1.25


def test_a_file_cut_within_an_event():
    content = GOOD[: GOOD.rindex(b"-11")]
    with pytest.raises(InputError, match="ends within this event") as caught:
        read(content)
    assert (caught.value.event, caught.value.line) == (2, 20)
    reader, [batch] = read(content, on_error="skip")
    assert len(batch) == 1
    assert reader.skipped.count == 1


def test_a_file_cut_between_events():
    content = GOOD[: GOOD.rindex(b"<event>")]
    with pytest.raises(InputError, match="after 1 events without </LesHouchesEvents>"):
        read(content)
    reader, [batch] = read(content, on_error="skip")
    assert len(batch) == 1
    assert reader.skipped.reasons


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (b"</init>", b"", "ends before </init>"),
        (b"<init>", b"", "no <init> block"),
        (b"1234.5 6.7 1 9999", b"1234.5 6.7", "is no process; four numbers"),
        (b"1234.5 6.7 1 9999\n", b"", "process 1 of the 1 announced"),
        (b"6500 6500 -1", b"6500 x -1", "ten numbers are expected"),
    ],
)
def test_a_broken_init(before, after, problem):
    with pytest.raises(InputError, match=problem):
        read(GOOD.replace(before, after, 1))


def test_shower_level_events_do_not_fit():
    one = np.array([1])
    batch = EventBatch.from_columns(
        one,
        {
            "pdg_id": one,
            "px": one,
            "py": one,
            "pz": one,
            "energy": 2 * one,
            "production_vertex": -one,
            "end_vertex": -one,
        },
        weight=[1.0],
        vertex_counts=one * 0,
        vertex_columns={name: np.empty(0) for name in ("x", "y", "z", "t", "status")},
    )
    with pytest.raises(OutputError, match=r"write HepMC \(.hepmc3\) or ROOT"):
        written(RunInfo(), [batch])
