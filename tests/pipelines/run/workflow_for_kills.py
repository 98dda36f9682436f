"""A three-step workflow in a process of its own, killed where the test says.

Arguments: run directory, input file, and optionally ``where:n``: the n-th time that ``where``
("write", "rename", "fsync") happens, the process kills itself.
"""

import os
import signal
import sys
from pathlib import Path

from aequorea.pipelines.run import Step, run_steps
from aequorea.pipelines.run.parameters import Parameters, merge_parameters, option

WHERE, NUMBER = [*sys.argv[3].split(":"), "0"][:2] if len(sys.argv) > 3 else ("", "0")
COUNT = {"write": 0, "rename": 0, "fsync": 0}


def die_at(where):
    COUNT[where] += 1
    if where == WHERE and COUNT[where] == int(NUMBER):
        os.kill(os.getpid(), signal.SIGKILL)


class Doubling(Parameters):
    factor: int = option(2)


def copy(context):
    text = Path(sys.argv[2]).read_text()
    with context.target("tables/copy.csv").open("w") as stream:
        for character in text:
            stream.write(character)
            stream.flush()
            die_at("write")


def expand(context):
    text = context.result("tables/copy.csv").read_text()
    for n in range(2):
        target = context.target(f"images.zarr/part{n}")
        target.write_text(text * (n + 2))
        die_at("write")


def finish(context):
    parts = sorted(context.result("images.zarr").iterdir())
    context.target("tables/sum.csv").write_text("+".join(p.read_text() for p in parts))
    context.target("tables/count.csv").write_text(str(len(parts)))


STEPS = [
    Step(name="copy", version=1, function=copy, outputs=("tables/copy.csv",), inputs=("text",)),
    Step(name="expand", version=1, function=expand, outputs=("images.zarr",), needs=("copy",)),
    Step(
        name="finish",
        version=1,
        function=finish,
        outputs=("tables/sum.csv", "tables/count.csv"),
        needs=("expand",),
    ),
]


def patch():
    replace, fsync = Path.replace, os.fsync

    def dying_replace(self, target):
        die_at("rename")
        return replace(self, target)

    def dying_fsync(descriptor):
        die_at("fsync")
        return fsync(descriptor)

    Path.replace = dying_replace
    os.fsync = dying_fsync


if __name__ == "__main__":
    patch()
    result = run_steps(
        STEPS,
        Path(sys.argv[1]),
        workflow="kill-test",
        inputs={"text": Path(sys.argv[2])},
        parameters=merge_parameters(Doubling),
    )
    sys.stdout.write(",".join(result.executed))
