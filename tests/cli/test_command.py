"""Help, configuration files and exit codes."""

import pytest

from aequorea import __version__
from aequorea.cli.app import run
from aequorea.pipelines.colocalization.parameters import ColocalizationParameters
from aequorea.pipelines.run.parameters import load_toml, merge_parameters, parameter_fields


def one_line(done, code):
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("aequorea: ")
    return done.stderr


def test_help_lists_the_commands(aequorea):
    done = aequorea("--help")
    assert done.returncode == 0
    for command in ("info", "convert", "coloc", "verify", "report", "demo"):
        assert command in done.stdout


def test_version(aequorea):
    assert aequorea("--version").stdout.strip() == __version__


def test_help_shows_every_parameter_with_unit_bounds_and_default(capsys):
    assert run(["coloc", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for field in parameter_fields(ColocalizationParameters):
        assert field.flag in text
        assert field.meaning, f"{field.key} has no docstring"
    assert "unit: µm; bounds: > 0" in text
    assert "choices: profile, stationary, phase, none; default: profile" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["colloc"], "colloc"),
        (["coloc", "--nul", "profile"], "--null"),
        (["coloc"], "no image given"),
        (["coloc", "a.tif", "--null", "stationry"], "did you mean 'stationary'?"),
        (["coloc", "a.tif", "--n-shifts", "few"], "--n-shifts: expected a whole number ≥ 19"),
        (
            ["coloc", "a.tif", "--spacing-um", "0.1,x"],
            "--spacing-um: expected two to three numbers separated",
        ),
        (["coloc", "a.tif", "--spacing-um", "0.1,-1"], "--spacing-um: distances must be positive"),
        (["coloc", "a.tif", "--channels", "A"], "--channels"),
        (["coloc", "a.tif", "--max-memory", "lots"], "--max-memory: expected a size such as"),
        (["coloc", "a.tif", "--workers", "0"], "--workers: expected a whole number ≥ 1"),
        (["coloc", "a.tif", "--threshold", "manual"], "needs threshold_value"),
        (["coloc", "a.tif", "--config", "absent.toml"], "no such configuration file"),
        (["verify", "absent"], "no such run directory"),
        (["report", "absent"], "no such run directory"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_in_a_process(aequorea, tmp_path):
    assert "did you mean 'profile'" in one_line(
        aequorea("coloc", "a.tif", "--null", "profil", cwd=tmp_path), 2
    )


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("sede = 1", "settings.toml: unknown key 'sede'; did you mean 'seed'?"),
        ("[significance]\nnul = 'none'", "did you mean 'significance.null'?"),
        ("[significance]\nalpha = 2.0", "significance.alpha: expected a number > 0, < 1, got 2.0"),
        ("[objects", "settings.toml: cannot be read as TOML"),
        ("significance = 3", "significance: expected a table [significance], got 3"),
        ("channels = 'A,B'", "channels: expected a list in [ ], each item text, got 'A,B'"),
        ("spacing_um = ['1', '1']", "spacing_um: expected a list in [ ], each item a number in µm"),
        ("seed = '3'", "seed: expected a whole number ≥ 0, got '3'"),
        ("scene = true", "scene: expected a whole number ≥ 0, got True"),
        ("[objects]\nobjects = 'no'", "objects.objects: expected true or false, got 'no'"),
        ("[significance.null]\na = 1", "significance.null: expected one of profile, stationary"),
    ],
)
def test_a_wrong_configuration_is_named(capsys, tmp_path, monkeypatch, toml, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.toml").write_text(toml)
    assert run(["coloc", "a.tif", "--config", "settings.toml"]) == 2
    assert says in capsys.readouterr().err


def test_a_written_configuration_gives_the_same_parameters(capsys, tmp_path):
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    flags = ["--null", "profile", "--per-slice", "--channels", "DNA,actin", "--n-shifts", "499"]
    assert run(["coloc", *flags, "--write-config", str(first)]) == 0
    assert run(["coloc", "--config", str(first), "--write-config", str(second)]) == 0
    assert first.read_text() == second.read_text()
    values = merge_parameters(ColocalizationParameters, toml=load_toml(first)).values
    assert values.significance.null == "profile"
    assert values.pixel.per_slice
    assert values.channels == ("DNA", "actin")


def test_a_written_configuration_replaces_nothing(capsys, tmp_path):
    image = tmp_path / "image.tif"
    image.write_bytes(b"pixels")
    assert run(["coloc", "--write-config", str(image)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert image.read_bytes() == b"pixels"


def test_flags_win_over_the_configuration(tmp_path):
    config, out = tmp_path / "in.toml", tmp_path / "out.toml"
    config.write_text("seed = 3\n[significance]\nalpha = 0.01\n")
    assert run(["coloc", "--config", str(config), "--seed", "5", "--write-config", str(out)]) == 0
    values = merge_parameters(ColocalizationParameters, toml=load_toml(out)).values
    assert (values.seed, values.significance.alpha) == (5, 0.01)
