"""Every example runs as a reader would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
EXPECTED = {
    "drop_in": ["True and 16384 gradients flowed"],
    "segnet": [
        "scores equal, bit for bit:    True",
        "gradients equal, bit for bit: True",
        "8 times smaller",
        "unpooled without output_size: (1, 32, 45, 61)",
    ],
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout
    for line in EXPECTED.get(example.stem, []):
        assert line in run.stdout


def test_every_expectation_has_its_example():
    assert set(EXPECTED) <= {path.stem for path in EXAMPLES}
