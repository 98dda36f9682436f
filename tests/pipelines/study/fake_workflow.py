"""A workflow that counts the letters of a text file, and says what should go wrong.

A file that contains "bad" is refused, "boom" is a fault of the program, "die" ends the process.
As a script: ``fake_workflow.py STUDY.toml OUT WORKERS [where:n]`` kills itself at the n-th time
that ``where`` ("rename", "fsync", "sample") happens.
"""

import os
import signal
import sys
from pathlib import Path

import pandas as pd

from aequorea.errors import InputError
from aequorea.io.tables import read_table, write_table
from aequorea.pipelines.run import Step, run_steps
from aequorea.pipelines.run.parameters import Parameters, merge_parameters, option


class Counting(Parameters):
    factor: int = option(1, ge=1)
    letters: tuple[str, ...] | None = None
    ratio: float = option(0.5, gt=0, lt=1)
    loud: bool = False
    labels: Path | None = None


def doubled(number):
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


def count(context, sample, parameters):
    text = sample.file.read_text()
    if "bad" in text:
        raise InputError(f"{sample.file}: is bad;\nuse another")
    if "boom" in text:
        raise ZeroDivisionError("boom")
    if "die" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    letters = sorted(set(text))
    table = pd.DataFrame(
        {
            "letter": pd.Series(letters, dtype=object),
            "n": [text.count(c) * parameters.factor for c in letters],
        }
    )
    write_table(table, context.target("tables/letters"))
    positive = sum(c in "aeiou" for c in text)
    cells = pd.DataFrame({"positive": [positive], "total": [len(text)]})
    write_table(cells, context.target("tables/cells"))


def run_one(sample, out, study=None):
    model = (
        merge_parameters(Counting) if study is None else study.sample_parameters(sample, Counting)
    )
    step = Step(
        name="count",
        version=1,
        function=lambda context: count(context, sample, model.values),
        outputs=tuple(f"tables/{n}.{k}" for n in ("letters", "cells") for k in ("parquet", "csv")),
        inputs=("text",),
        parameters={"all": model.values},
    )
    inputs = {"text": sample.file}
    if model.values.labels is not None:
        inputs["labels_text"] = model.values.labels
    return run_steps([step], out, workflow="letters", inputs=inputs, parameters=model)


def most_frequent(context):
    table = read_table(context.result("tables/letters.parquet"))
    best = table.groupby("letter", as_index=False)["n"].sum().nlargest(1, "n")
    write_table(best, context.target("tables/best"))


def summaries(names):
    if "letters" not in names:
        return []
    outputs = ("tables/best.parquet", "tables/best.csv")
    return [
        Step(name="best", version=1, function=most_frequent, outputs=outputs, needs=("tables",))
    ]


def main():
    from functools import partial

    from aequorea.pipelines.study import load_study, run_study

    file, out, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    where, number = sys.argv[4].split(":") if len(sys.argv) > 4 else ("", 0)
    seen = 0

    def die_at(place):
        nonlocal seen
        seen += place == where
        if place == where and seen == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    replace, fsync = Path.replace, os.fsync

    def dying_replace(self, target):
        die_at("rename")
        return replace(self, target)

    def dying_fsync(descriptor):
        die_at("fsync")
        return fsync(descriptor)

    class Dying:
        def begin(self, step):
            pass

        def advance(self, done, total):
            die_at("sample")

        def end(self, outcome):
            pass

    Path.replace, os.fsync = dying_replace, dying_fsync
    study = load_study(file)
    result = run_study(
        study,
        partial(run_one, study=study),
        out=out,
        workflow="letters",
        summaries=summaries,
        workers=workers,
        progress=Dying(),
    )
    sys.stdout.write(",".join(result.executed))


if __name__ == "__main__":
    main()
