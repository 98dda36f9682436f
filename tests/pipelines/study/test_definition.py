"""Study files and sample sheets, as people write them."""

import datetime as dt
import importlib

import openpyxl
import pytest

from aequorea.errors import FileFormatError, FileMissingError, InputError
from aequorea.pipelines.study import Sample, load_study
from aequorea.pipelines.study.sample import safe_folder


@pytest.fixture
def study(tmp_path):
    """Write a sheet (and a TOML), load the study."""

    def load(sheet, toml="", *, name="samples.csv", files=("a.txt", "b.txt")):
        for file in files:
            path = tmp_path / file
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(file)
        content = sheet if isinstance(sheet, bytes) else sheet.encode()
        (tmp_path / name).write_bytes(content)
        (tmp_path / "study.toml").write_text(f'sheet = "{name}"\n{toml}')
        return load_study(tmp_path / "study.toml")

    return load


def test_a_sheet_becomes_samples(study):
    sheet = (
        "File, Sample ,ANIMAL,condition,Replicate,control,code,regions,params.blur.sigma_um,Sex\n"
        "a.txt,first,m1,WT,1,,X1,b.txt,0.5,f\n"
        "b.txt,,m1,KO,2,Single: GFP,,,,\n"
    )
    first, second = study(sheet).samples
    assert (first.name, first.animal, first.condition) == ("first", "m1", "WT")
    assert (first.replicate, first.code, first.control) == ("1", "X1", None)
    assert first.file.read_text() == "a.txt"
    assert first.regions.name == "b.txt"
    assert first.overrides == {"blur.sigma_um": "0.5"}
    assert first.metadata == {"Sex": "f"}
    assert (second.name, second.control, second.stain) == ("b", "single:GFP", "GFP")
    assert second.is_control
    assert not second.metadata


@pytest.mark.parametrize(
    "content",
    [
        "file,animal\na.txt,mü\n".encode("utf-8-sig"),
        "file;animal\na.txt;mü\n".encode(),
        "file\tanimal\na.txt\tmü\n".encode(),
        "file\tanimal\r\na.txt\tmü\r\n".encode("utf-16"),
        "sep=;\nfile;animal\na.txt;mü\n".encode(),
        '"file","animal"\r"a.txt","mü"\r'.encode(),
        "\n\nfile,animal,,\n\na.txt,mü,,\n,,,\n , ,\n".encode(),
    ],
)
def test_sheets_of_all_kinds_of_programs(study, content):
    (sample,) = study(content).samples
    assert (sample.name, sample.animal) == ("a", "mü")


def excel(path, rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("notes").append(["nothing"])
    book.save(path)


def test_excel_with_numbers_dates_and_empty_rows_and_columns(study, tmp_path):
    rows = [
        ["file", "Animal", "age", "born", "fixed", "params.factor", None, None],
        ["a.txt", 7, 2.0, dt.date(2024, 5, 1), True, 3, None, " "],
        [None, None, None],
        ["b.txt", 8.5, None, None, None, None],
        [None] * 8,
    ]
    excel(tmp_path / "book.xlsx", rows)
    content = (tmp_path / "book.xlsx").read_bytes()
    first, second = study(content, name="samples.xlsx").samples
    assert first.animal == "7"
    assert first.metadata == {"age": "2", "born": "2024-05-01", "fixed": "true"}
    assert first.overrides == {"factor": "3"}
    assert (second.animal, second.where[-5:]) == ("8.5", "row 4")


@pytest.mark.parametrize(
    ("sheet", "message"),
    [
        ("file,anmial\na.txt,x\n", "row 1, column B: unknown column 'anmial'; .* 'animal'"),
        ("file,Regoins\na.txt,x\n", "unknown column 'Regoins'; did you mean 'regions'"),
        ("path,animal\na.txt,x\n", "no column 'file'; it has 'path', 'animal'"),
        ("file,animal,animal\na.txt,x,y\n", "column 'animal' is there twice"),
        ("file,,age\na.txt,x,y\n", "column B: no column name, but row 2 has a value"),
        ("file\n", "has no samples"),
        ("", "has no samples"),
        ("file,animal\n,m1\n", "row 2, column 'file': empty"),
        ("file,control\na.txt,singel:GFP\n", "row 2, column 'control': .* did you mean 'single'"),
        ("file,control\na.txt,single:\n", "expected single:<stain>, secondary-only, negative"),
        ("file,sample\na.txt,x\nb.txt,X\n", "row 3, column 'sample': 'X' .* of row 2"),
        ("file,code\na.txt,x\nb.txt,x\n", "row 3, column 'code': 'x' is also the code of row 2"),
        ("file\na.txt\nno.txt\nb.txt\nnot.txt\n", r"no.txt \(row 3\), .*not.txt \(row 5\) do not"),
        (
            "file,regions\na.txt,gone.roi\n",
            r"column 'regions': .*gone.roi \(row 2\) does not exist",
        ),
        ("file\n" + "".join(f"{k}.txt\n" for k in range(8)), r"4.txt \(row 6\) and 3 more do not"),
        ('file,animal\na.txt,"x\n' + "y" * 200000 + '"\n', "cannot be read as a table"),
        (b"file,animal\na.txt,m\xfc\n", "row 2: not UTF-8 text"),
        (b"PK\0\0file", "binary data"),
    ],
)
def test_errors_name_row_and_column_on_one_line(study, sheet, message):
    with pytest.raises(InputError, match=message) as raised:
        study(sheet)
    assert "\n" not in str(raised.value)
    assert "samples.csv: " in str(raised.value)


def test_columns_that_are_like_ours_but_not_slips_are_kept(study):
    (sample,) = study("file,region,conditions,condition\na.txt,CA1,wet,WT\n").samples
    assert sample.metadata == {"region": "CA1", "conditions": "wet"}


@pytest.mark.parametrize("name", ["samples.xlsx", "samples.xls", "samples.ods"])
def test_a_workbook_that_is_none(study, name):
    with pytest.raises(FileFormatError, match=r"samples\.\w+: "):
        study(b"not a workbook", name=name)


def test_a_formula_that_failed(study, tmp_path):
    excel(tmp_path / "book.xlsx", [["file", "animal"], ["a.txt", "#REF!"]])
    with pytest.raises(InputError, match="row 2, column B: the formula failed"):
        study((tmp_path / "book.xlsx").read_bytes(), name="samples.xlsx")


def test_files_of_one_name_are_told_by_their_folders(study):
    files = ("m1/s.ome.tif", "m2/s.ome.tif", "t.czi")
    samples = study("file\n" + "\n".join(files) + "\n", files=files).samples
    assert [s.name for s in samples] == ["m1_s", "m2_s", "t"]


def test_paths_written_on_windows(study):
    (sample,) = study("file\nm1\\s.tif\n", files=("m1/s.tif",)).samples
    assert sample.file.is_file()


def test_toml_of_a_study(study, tmp_path):
    toml = """
workflow = "cells"
out = "res/deep"
[channels]
cell = "DAPI"
marker = 1
[params.blur]
sigma_um = 2
[compare]
reference = "WT"
method = "beta-binomial"
"""
    found = study("file,condition\na.txt,WT\nb.txt,KO\n", toml)
    assert found.name == "study"
    assert found.workflow == "cells"
    assert found.out == tmp_path / "res/deep"
    assert found.channels == {"cell": "DAPI", "marker": 1}
    assert found.params == {"blur": {"sigma_um": 2}}
    assert found.comparison.method == "beta-binomial"
    assert set(found.sources) == {"study", "sheet"}


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("chanels = 1", "unknown key 'chanels'; did you mean 'channels'"),
        ("files = ['a']", "either 'sheet' or 'files', got both"),
        ("out = 3", "out: expected text, got 3"),
        ("params = 3", r"params: expected a table \[params\]"),
        ("channels.cell = true", "channels.cell: expected a channel name or number"),
        ("channels.cell = -1", "channels.cell: expected a channel name or number"),
        ("compare.method = 'chi2'", r"\[compare\]: method: expected one of animal-mean"),
        ("compare.referense = 'WT'", "did you mean 'reference'"),
        ("compare.reference = 'WTT'", "no condition 'WTT'; the samples have WT; did you mean 'WT'"),
    ],
)
def test_errors_of_the_study_file(study, toml, message):
    with pytest.raises(InputError, match=message) as raised:
        study("file,condition\na.txt,WT\n", toml)
    assert "study.toml" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_list_of_files(tmp_path):
    for name in ("b.czi", "a.czi", ".hidden.czi", "x.aequorea/c.czi", "res/d.czi", "e.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "z.ome.zarr").mkdir()
    (tmp_path / "other").mkdir()

    def load(files):
        (tmp_path / "study.toml").write_text(f"files = {files}\nout = 'res'")
        return [s.name for s in load_study(tmp_path / "study.toml").samples]

    assert load(["**/*.czi"]) == ["a", "b"]
    assert load(["e.tif", "*"])[:4] == ["e", "a", "b", "study"]
    assert load(["*.zarr", "b.czi", "b.*"]) == ["z", "b"]
    assert load([str(tmp_path / "a*.czi")]) == ["a"]
    with pytest.raises(FileMissingError, match=r"study.toml: files: no file matches '\*.nd2'"):
        load(["*.nd2"])
    with pytest.raises(FileMissingError, match=r"gone\.czi does not exist"):
        load(["gone.czi"])
    with pytest.raises(InputError, match="names no file"):
        load([])
    with pytest.raises(InputError, match="expected a list of names"):
        load([3])


def test_neither_sheet_nor_files(tmp_path):
    (tmp_path / "study.toml").write_text("")
    with pytest.raises(InputError, match="either 'sheet' or 'files', got neither"):
        load_study(tmp_path / "study.toml")
    with pytest.raises(FileMissingError, match="no such configuration file"):
        load_study(tmp_path / "none.toml")
    (tmp_path / "study.toml").write_text("sheet = 'gone.csv'")
    with pytest.raises(FileMissingError, match=r"gone.csv: no such sample sheet"):
        load_study(tmp_path / "study.toml")


def parameters_of(study, letters, **flags):
    return [study.sample_parameters(s, letters.Counting, flags=flags).values for s in study.samples]


def test_parameters_of_a_row_win(study, letters):
    sheet = (
        "file;params.factor;params.ratio;params.loud;params.letters\n"
        "a.txt;3;0,25;TRUE;a, b\nb.txt;;;;\n"
    )
    found = study(sheet, "[params]\nratio = 0.75")
    first, second = parameters_of(found, letters)
    assert (first.factor, first.ratio, first.loud, first.letters) == (3, 0.25, True, ("a", "b"))
    assert (second.factor, second.ratio, second.loud, second.letters) == (1, 0.75, False, None)
    first, second = parameters_of(found, letters, factor=9, ratio=0.1)
    assert (first.factor, first.ratio, second.factor, second.ratio) == (3, 0.25, 9, 0.1)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("factor", "0", "row 2, column 'params.factor': factor: expected a whole number ≥ 1"),
        ("factor", "many", "row 2, column 'params.factor': factor: expected a whole number"),
        ("loud", "3", "row 2, column 'params.loud': loud: expected true or false"),
        ("facter", "3", "column 'params.facter': unknown parameter; did you mean 'factor'"),
    ],
)
def test_wrong_parameters_are_found_before_anything_runs(study, letters, column, value, message):
    found = study(f"file,params.{column}\na.txt,{value}\n")
    with pytest.raises(InputError, match=message):
        found.check_parameters(letters.Counting)


def test_files_that_parameters_name_are_relative_to_the_sheet(
    study, letters, tmp_path, monkeypatch
):
    sheet = "file,params.labels\na.txt,masks\\a.tif\nb.txt,masks/b.tif\n"
    found = study(sheet, files=("a.txt", "b.txt", "masks/a.tif"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    first = found.sample_parameters(found.samples[0], letters.Counting)
    assert first.values.labels.read_text() == "masks/a.tif"
    with pytest.raises(FileMissingError, match=r"row 3, column 'params.labels': .*b.tif does not"):
        found.check_parameters(letters.Counting)


def test_wrong_shared_parameters_name_the_study_file(study, letters):
    found = study("file\na.txt\n", "[params]\nfactr = 3")
    with pytest.raises(InputError, match=r"study.toml: \[params\]: unknown key 'factr'"):
        found.check_parameters(letters.Counting)


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/abs", "a/b", "a\\b", "..", ".", "", "CON", "nul.txt", "a:b", "x" * 300,
     "end.", " lead", "tab\t", "µ" * 90, ".hidden", "~"],
)  # fmt: skip
def test_folder_names_lead_nowhere(tmp_path, name):
    folder = safe_folder(name)
    path = tmp_path / folder
    path.mkdir()
    assert path.resolve().parent == tmp_path.resolve()
    assert len(folder.encode()) < 255
    assert folder[0] not in "._ "
    assert folder[-1] not in ". "
    assert safe_folder(name + "!") != folder


def test_ordinary_names_are_their_folders():
    for name in ("m1", "mouse 3, slice 1", "été-2", "WT_a.1 (b)"):
        assert safe_folder(name) == name


def test_a_sample_travels_between_processes():
    reduction = importlib.import_module("multiprocessing.reduction")
    sample = Sample(name="a", file=__file__, metadata={"sex": "f"})
    content = reduction.ForkingPickler.dumps(sample)
    assert reduction.ForkingPickler.loads(content) == sample


def test_paths_of_a_study_are_relative_to_its_file(folder, letters, tmp_path, monkeypatch):
    (folder / "labels.txt").write_text("x")
    toml = folder / "study.toml"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for given in ("labels.txt", str(folder / "labels.txt")):
        toml.write_text(f'sheet = "samples.csv"\n[params]\nlabels = "{given}"\n')
        study = load_study(toml)
        assert study.shared_parameters(letters.Counting).values.labels == folder / "labels.txt"
        for sample in study.samples:
            found = study.sample_parameters(sample, letters.Counting).values
            assert found.labels == folder / "labels.txt"
    (folder / "samples.csv").write_text("file,params.labels\na.txt,labels.txt\n")
    toml.write_text('sheet = "samples.csv"\n')
    monkeypatch.chdir(folder.parent)
    study = load_study(f"{folder.name}/study.toml")
    (sample,) = study.samples
    found = study.sample_parameters(sample, letters.Counting).values.labels
    assert found.resolve() == (folder / "labels.txt").resolve()
