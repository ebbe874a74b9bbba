"""What a user finds under `fg.`, and what `import factorgraph_ebm` costs."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

import factorgraph_ebm as fg

ROOT = pathlib.Path(__file__).resolve().parents[1]

CONTRACT = """
    observed output latent Variable FactorGraph union from_networkx to_networkx
    Table Potts Product SparseTable TruncatedLinear TruncatedQuadratic
    Cardinality AtMostOne ExactlyOne AtLeastOne Or And Implies Parity
    LinearConstraint Maximum AllDifferent
    Parameter Linear Computed
    minimize marginals log_partition rank k_best diverse sample energy factor_energies min_marginals plan steps
    read read_evidence write
    Status
    FactorGraphError VariableError ScopeError FactorError ParameterError EvidenceError MethodError
    WidthTooLargeError FormatError InfeasibleError ConvergenceWarning
""".split()


@pytest.mark.parametrize("name", CONTRACT)
def test_every_name_of_the_contract_is_exported(name):
    assert name in fg.__all__
    assert getattr(fg, name).__doc__


def test_the_public_names_are_sorted_and_exist():
    assert list(fg.__all__) == sorted(fg.__all__)
    assert all(hasattr(fg, name) for name in fg.__all__)


def fresh(code, **environment):
    """Run `code` in a new interpreter and return what it prints as JSON."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_import_loads_nothing_heavy():
    code = """
import json, sys
import factorgraph_ebm
heavy = ["matplotlib", "networkx", "numba", "scipy", "sklearn", "tqdm"]
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    assert fresh(code) == []


def test_import_without_a_home_directory():
    code = "import os; os.environ.pop('HOME', None); import factorgraph_ebm; print('true')"
    assert fresh(code) is True


def test_the_examples_of_the_readme_run(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    scope = {}
    exec(blocks[0], scope)
    wrong_before = (scope["noisy"] != scope["clean"]).sum()
    wrong_after = (scope["best"]["y"] != scope["clean"]).sum()
    assert wrong_after < wrong_before / 4
    assert str(scope["best"].energy) in capsys.readouterr().out
    exec(blocks[1], scope)
    before = (scope["noisy"] == scope["clean"]).mean()
    assert before + 0.05 < scope["model"].score(scope["samples"], scope["targets"]) < 1.0
    exec(blocks[2], scope)
    assert scope["said"] == [["B-PERSON", "O", "O", "O", "B-PLACE"]]
    labels = scope["labels"]
    assert ((scope["photo"].mean(axis=-1) > 0.5) == labels).mean() < 0.92  # each pixel alone
    assert scope["segmenter"].score(scope["photo"], labels) > 0.98
    assert (scope["cut"].labels == labels).mean() > 0.98


@pytest.mark.parametrize("command", ["demo", "test"])
def test_the_readme_keeps_the_commands_that_ci_reads(command):
    readme = (ROOT / "README.md").read_text()
    found = re.findall(rf"^<!-- command: {command} -->\n```sh\n(.+)\n```$", readme, re.MULTILINE)
    assert len(found) == 1
    assert found[0].startswith("python3 -m venv --clear .venv-")
