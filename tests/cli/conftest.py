"""The command line in a process of its own, as users have it."""

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def aequorea():
    environment = {**os.environ, "PYTHONWARNINGS": "default", "NO_COLOR": "1", "COLUMNS": "100"}
    environment.pop("AEQUOREA_DEBUG", None)

    def run(*arguments, cwd=None):
        return subprocess.run(  # noqa: S603
            [sys.executable, "-m", "aequorea", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env=environment,
        )

    return run
