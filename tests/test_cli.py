"""The command line: what it prints, what it writes, and its exit codes."""

import json
import math
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from terminal import run_at_terminal

import factorgraph_ebm as fg
from factorgraph_ebm._jit import cache_directory
from factorgraph_ebm.cli import main
from factorgraph_ebm.warmup import all_kernels

# Two cells: x0 has potentials 1 and 3, and x1 (of three states) agrees with x0 at odds of 2 to 1.
CHAIN = "MARKOV\n2\n2 3\n2\n1 0\n2 0 1\n\n2\n 1 3\n\n6\n 2 1 1\n 1 2 1\n"
JOINT = np.array([[2.0, 1.0, 1.0], [3.0, 6.0, 3.0]])
FORBIDDEN = "MARKOV\n1\n2\n1\n1 0\n\n2\n 0 0\n"
# A frustrated triangle: a loop, so that bp is approximate.
LOOP = "MARKOV\n3\n2 2 2\n3\n2 0 1\n2 1 2\n2 2 0\n\n4\n 1 2 2 1\n\n4\n 1 2 2 1\n\n4\n 1 2 2 1\n"
SHARED_KEYS = {"task", "method", "status", "exact", "converged", "feasible", "iterations", "seconds"}


@pytest.fixture
def file(tmp_path):
    """Write a text file and return its path."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def answer(capsys):
    """Run `solve --json` and return exit code, object, standard error."""

    def solve(*arguments):
        code = main(["solve", *arguments, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out, parse_constant=pytest.fail), err

    return solve


def test_map_as_json(file, answer):
    code, said, err = answer(file("chain.uai", CHAIN), "--task", "MAP")
    assert code == 0
    assert err == ""
    assert set(said) == SHARED_KEYS | {"assignment", "energy", "lower_bound"}
    assert said["assignment"] == [1, 1]
    assert said["energy"] == pytest.approx(-math.log(6), abs=1e-12)
    assert said["lower_bound"] == pytest.approx(said["energy"], abs=1e-12)
    assert said["exact"] is said["converged"] is said["feasible"] is True
    assert said["task"] == "MAP"
    assert said["status"] == fg.Status.OPTIMAL.value
    assert said["seconds"] >= 0
    assert isinstance(said["iterations"], int)


def test_marginals_as_json_are_cut_to_the_states_of_each_cell(file, answer):
    code, said, _ = answer(file("chain.uai", CHAIN), "--task", "MAR")
    assert code == 0
    assert set(said) == SHARED_KEYS | {"marginals"}
    assert [len(row) for row in said["marginals"]] == [2, 3]
    np.testing.assert_allclose(said["marginals"][0], JOINT.sum(axis=1) / JOINT.sum(), atol=1e-12)
    np.testing.assert_allclose(said["marginals"][1], JOINT.sum(axis=0) / JOINT.sum(), atol=1e-12)


def test_log_partition_as_json_is_natural(file, answer):
    code, said, _ = answer(file("chain.uai", CHAIN), "--task", "PR")
    assert code == 0
    assert set(said) == SHARED_KEYS | {"log_partition"}
    assert said["log_partition"] == pytest.approx(math.log(JOINT.sum()), abs=1e-12)


def test_evidence_and_beta(file, answer):
    model, evidence = file("chain.uai", CHAIN), file("chain.uai.evid", "1\n1 1 0\n")
    _, said, _ = answer(model, "--evidence", evidence, "--task", "MAR", "--beta", "2")
    np.testing.assert_allclose(said["marginals"][0], [4 / 13, 9 / 13], atol=1e-12)
    assert said["marginals"][1] == [1.0, 0.0, 0.0]


def test_beta_infinity_gives_no_infinite_number(file, answer):
    _, said, _ = answer(file("chain.uai", CHAIN), "--task", "PR", "--beta", "inf")
    assert said["log_partition"] is None
    assert said["feasible"] is True


@pytest.mark.parametrize("method", ["enumerate", "bp", "icm"])
def test_the_method_named_is_the_method_that_runs(file, answer, method):
    _, said, _ = answer(file("loop.uai", LOOP), "--method", method)
    assert method in said["method"]


def test_a_loopy_answer_does_not_claim_to_be_exact(file, answer):
    _, said, _ = answer(file("loop.uai", LOOP), "--task", "MAR", "--method", "bp")
    assert said["exact"] is False
    assert said["feasible"] is True


@pytest.mark.parametrize(("task", "empty"), [("PR", ["log_partition"]), ("MAR", ["marginals"]),
                                             ("MAP", ["assignment", "energy", "lower_bound"])])  # fmt: skip
def test_proved_infeasible_is_exit_code_3_and_still_an_object(file, answer, task, empty):
    code, said, _ = answer(file("none.uai", FORBIDDEN), "--task", task)
    assert code == 3
    assert said["feasible"] is False
    assert said["status"] == fg.Status.INFEASIBLE.value
    assert [said[key] for key in empty] == [None] * len(empty)


@pytest.mark.parametrize("task", ["PR", "MAR", "MAP"])
def test_the_summary_is_readable_and_infeasible_ones_end_with_3(file, capsys, task):
    assert main(["solve", file("chain.uai", CHAIN), "--task", task]) == 0
    out = capsys.readouterr().out
    assert "status" in out
    assert ("x[1]" in out) == (task != "PR")
    assert main(["solve", file("none.uai", FORBIDDEN), "--task", task]) == 3
    assert "infeasible" in capsys.readouterr().out.lower()


def test_the_summary_speaks_the_labels_of_the_model(file, tmp_path, capsys):
    weather = fg.output("weather", states=["dry", "wet"])
    path = str(tmp_path / "weather.fgz")
    fg.write(fg.FactorGraph([fg.Table([weather], energies=[1.0, 0.0])]), path)
    assert main(["solve", path]) == 0
    line = [line for line in capsys.readouterr().out.splitlines() if "weather" in line][-1]
    assert line.split() == ["weather", "wet"]


def test_output_is_a_uai_solution(file, tmp_path, capsys):
    model = file("chain.uai", CHAIN)
    written = {}
    for task in ("PR", "MAR", "MAP"):
        path = tmp_path / f"answer.{task}"
        assert main(["solve", model, "--task", task, "--output", str(path)]) == 0
        written[task] = path.read_text().split()
    assert written["PR"][0] == "PR"
    assert float(written["PR"][1]) == pytest.approx(math.log10(JOINT.sum()), abs=1e-12)
    assert [written["MAR"][i] for i in (0, 1, 2, 5)] == ["MAR", "2", "2", "3"]
    assert written["MAP"] == ["MPE", "2", "1", "1"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["solve", "no-such-file.uai"],
        ["solve", "{bad}"],
        ["solve", "{chain}", "--evidence", "{bad}"],
        ["solve", "{chain}", "--evidence", "no-such-file.evid"],
        ["solve", "{chain}", "--method", "magic"],
        ["solve", "{chain}", "--output", "no-such-folder/answer"],
        ["info", "{bad}"],
        ["info", "no-such-file.uai"],
    ],
)
def test_bad_input_is_exit_code_2_and_one_line(file, capsys, arguments):
    names = {"chain": file("chain.uai", CHAIN), "bad": file("bad.uai", "MARKOV\n2\n2 two\n")}
    assert main([argument.format(**names) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["solve"],
        ["guess"],
        ["solve", "m.uai", "--task", "MPX"],
        ["solve", "m.uai", "--beta", "-1"],
        ["solve", "m.uai", "--beta", "nan"],
        ["solve", "m.uai", "--time-limit", "soon"],
        ["solve", "m.uai", "--nonsense"],
    ],
)
def test_bad_arguments_are_exit_code_2_and_one_line(capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_info_says_forest_or_not(file, capsys):
    assert main(["info", file("chain.uai", CHAIN)]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:])
    assert rows["variables"].startswith("2")
    assert rows["factors"].startswith("2")
    assert rows["states"] == "2 (1), 3 (1)"
    assert rows["arities"] == "1 (1), 2 (1)"
    assert rows["forest"].startswith("yes")
    assert rows["components"] == "1"
    assert "bytes" in rows["memory"]
    assert main(["info", file("loop.uai", LOOP)]) == 0
    assert "no: it has loops" in capsys.readouterr().out


def test_warmup_compiles_everything(capsys):
    """Here, or found in the cache; then another process compiles nothing, and a terminal sees how far it is."""
    assert main(["warmup"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    if out == "nothing to compile: NUMBA_DISABLE_JIT is set\n":
        return
    counts = re.match(r"(\d+) kernels compiled and (\d+) found in the cache, in \d+\.\d s\ncache: (.+)\n$", out)
    total = int(counts[1]) + int(counts[2])
    assert total == len(all_kernels())
    code, out, seen = run_at_terminal([sys.executable, "-m", "factorgraph_ebm.cli", "warmup"])
    assert code == 0
    assert out.startswith(f"0 kernels compiled and {total} found in the cache, in ")
    assert out.endswith(f"cache: {counts[3]}\n")
    assert seen.count(f" of {total} kernels: ") == total and seen.endswith(" \r") and "\n" not in seen


def test_warmup_without_a_cache_is_exit_code_2(monkeypatch, capsys):
    monkeypatch.setattr("factorgraph_ebm._jit._is_private_and_writable", lambda directory: False)
    cache_directory.cache_clear()
    try:
        assert main(["warmup"]) == 2
    finally:
        cache_directory.cache_clear()
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1 and "FACTORGRAPH_EBM_CACHE_DIR" in err


def test_as_a_program(file):
    """Exit code, streams and the reader that leaves early, in processes of their own."""

    def run(*arguments, **options):
        command = [sys.executable, "-m", "factorgraph_ebm.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)

    good = run("info", file("chain.uai", CHAIN))
    assert (good.returncode, good.stderr) == (0, "")
    bad = run("solve", "no-such-file.uai")
    assert (bad.returncode, bad.stdout, len(bad.stderr.splitlines())) == (2, "", 1)
    helped = run("solve", "--help")
    assert helped.returncode == 0
    for flag in ("--evidence", "--task", "--method", "--beta", "--time-limit", "--output", "--json"):
        assert flag in helped.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line(file):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "factorgraph_ebm.cli", "info", file("chain.uai", CHAIN)]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert run.returncode == 2
    assert "No space left" in run.stderr


def test_parsing_arguments_loads_nothing_heavy():
    code = (
        "import sys; from factorgraph_ebm.cli import _parser; _parser().parse_args(['solve', 'm.uai']); "
        "print([name for name in ('matplotlib', 'networkx', 'numba', 'scipy', 'tqdm') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"
