"""Every example runs, is short, and says something true."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.slow
def test_the_critic_alone_finds_the_value_of_a_known_problem():
    """Going right from 0.5 earns 0.5 + 0.6 γ + … + γ⁵ / (1 − γ) = 8.69; in at most 30 lines."""
    path = next(path for path in EXAMPLES if path.name == "critic_alone.py")
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    code = [line for line in lines if not line.startswith(("import", '"""'))]
    assert len(code) <= 30
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=300, check=True
    )
    value = float(re.search(r"\[(.+)\]", done.stdout).group(1))
    exact = sum(min(0.5 + 0.1 * step, 1.0) * 0.9**step for step in range(400))
    assert value == pytest.approx(exact, rel=0.03)


@pytest.mark.slow
def test_the_study_of_both_phases_writes_a_curve_for_each_algorithm(tmp_path):
    """Its table has floq and FQL, offline and online; the command is that of docs/online.md."""
    path = next(path for path in EXAMPLES if path.name == "offline_to_online.py")
    page = (path.parent.parent / "docs" / "online.md").read_text()
    assert "python examples/offline_to_online.py" in page
    words = [sys.executable, path, str(tmp_path), "4", "30", "0"]
    subprocess.run(words, timeout=900, check=True)
    rows = (tmp_path / "table.md").read_text().splitlines()[2:]
    found = {tuple(cell.strip() for cell in row.split("|")[1:3]) for row in rows}
    assert {("floq", "4"), ("floq", "34"), ("FQL", "4"), ("FQL", "34")} <= found
    assert (tmp_path / "figure.svg").stat().st_size > 1000
