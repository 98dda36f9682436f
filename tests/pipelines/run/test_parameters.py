import tomllib
from typing import Literal

import pytest

from aequorea.errors import FileFormatError, FileMissingError, InputError, OutputError
from aequorea.pipelines.run.parameters import (
    Parameters,
    flat_values,
    load_toml,
    merge_parameters,
    option,
    parameter_fields,
    render_toml,
    write_config,
)


class Blur(Parameters):
    sigma_um: float = option(0.5, unit="µm", gt=0, le=10)
    """Width of the Gaussian. Larger is smoother."""
    method: Literal["gaussian", "median"] = "gaussian"
    """How to smooth."""


class Whole(Parameters):
    channels: tuple[str, ...] | None = None
    """Channels to use."""
    seed: int = option(0, ge=0)
    """Seed of the random numbers."""
    robust: bool = False
    """Whether to be robust."""
    blur: Blur = Blur()


def test_fields_carry_unit_bounds_choices_and_meaning():
    fields = {f.key: f for f in parameter_fields(Whole)}
    assert list(fields) == ["channels", "seed", "robust", "blur.sigma_um", "blur.method"]
    sigma = fields["blur.sigma_um"]
    assert sigma.help == (
        "Width of the Gaussian. Larger is smoother. [unit: µm; bounds: > 0, ≤ 10; default: 0.5]"
    )
    assert fields["blur.method"].choices == ("gaussian", "median")
    assert fields["channels"].is_list
    assert fields["channels"].optional
    assert fields["robust"].is_switch


def test_flags_win_over_toml_over_defaults():
    merged = merge_parameters(
        Whole,
        toml={"seed": 3, "blur": {"sigma_um": 2.0}},
        flags={"sigma_um": "4", "channels": "DNA, actin"},
    )
    assert merged.values == Whole(channels=("DNA", "actin"), seed=3, blur=Blur(sigma_um=4.0))
    assert merged.sources == {
        "channels": "flag",
        "seed": "toml",
        "robust": "default",
        "blur.sigma_um": "flag",
        "blur.method": "default",
    }


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ({"sede": 1}, "settings.toml: unknown key 'sede'; did you mean 'seed'?"),
        ({"sigma_um": 1}, "settings.toml: unknown key 'sigma_um'; did you mean 'blur.sigma_um'?"),
        (
            {"blur": {"sigma": 1}},
            "settings.toml: unknown key 'blur.sigma'; did you mean 'blur.sigma_um'?",
        ),
        ({"blur": 3}, "settings.toml: blur: expected a table [blur], got 3"),
        ({"seed": -1}, "settings.toml: seed: expected a whole number ≥ 0, got -1"),
        ({"seed": "many"}, "settings.toml: seed: expected a whole number ≥ 0, got 'many'"),
        (
            {"blur": {"sigma_um": float("nan")}},
            "settings.toml: blur.sigma_um: expected a number > 0, ≤ 10 in µm, got nan",
        ),
        (
            {"blur": {"method": "medain"}},
            "settings.toml: blur.method: expected one of gaussian, median, got 'medain'; did",
        ),
    ],
)
def test_wrong_keys_and_values_are_named(toml, message):
    with pytest.raises(InputError) as caught:
        merge_parameters(Whole, toml=toml, toml_name="settings.toml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_wrong_flags_are_named_as_flags():
    with pytest.raises(InputError, match="--sigma-um: expected a number > 0, ≤ 10 in µm, got '-2'"):
        merge_parameters(Whole, flags={"sigma_um": "-2"})


@pytest.mark.parametrize(
    "values", [Whole(), Whole(channels=("a", "b"), robust=True, blur=Blur(sigma_um=1.25))]
)
def test_a_written_configuration_reads_back(values, tmp_path):
    path = tmp_path / "settings.toml"
    write_config(values, path)
    assert merge_parameters(Whole, toml=load_toml(path)).values == values
    assert tomllib.loads(render_toml(values))
    assert "Width of the Gaussian" in path.read_text()


def test_names_used_twice_are_told_with_their_group(tmp_path):
    class Twice(Parameters):
        seed: int = 0
        whole: Whole = Whole()

    flags = [f.flag for f in parameter_fields(Twice)]
    assert len(set(flags)) == len(flags)
    assert {"--seed", "--whole.seed", "--sigma-um"} <= set(flags)
    merged = merge_parameters(Twice, flags={"seed": "3", "whole__seed": "4"})
    assert (merged.values.seed, merged.values.whole.seed) == (3, 4)
    assert merged.sources["whole.seed"] == "flag"
    with pytest.raises(InputError, match=r"--whole\.seed: expected a whole number"):
        merge_parameters(Twice, flags={"whole__seed": "four"})
    write_config(merged.values, tmp_path / "twice.toml")
    assert merge_parameters(Twice, toml=load_toml(tmp_path / "twice.toml")).values == merged.values


def test_flat_values():
    assert flat_values(Whole())["blur.sigma_um"] == 0.5


def test_unreadable_configurations(tmp_path):
    with pytest.raises(FileMissingError, match="no such configuration"):
        load_toml(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 1")
    with pytest.raises(FileFormatError, match="cannot be read as TOML"):
        load_toml(broken)
    with pytest.raises(OutputError, match="cannot be written"):
        write_config(Whole(), tmp_path / "absent" / "settings.toml")
