"""Kernels compiled, kept and found again: each test is a process of its own, with a cache directory of its own."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from terminal import run_at_terminal

import factorgraph_ebm as fg
from factorgraph_ebm import _jit
from factorgraph_ebm.warmup import all_kernels

# One small kernel with a callee in another file: potts_min asks `is_target` of message_kernels.py for what to write.
# Prints its two messages, and whether it came from the cache.
ASK = """
import json, warnings
import numpy as np
from factorgraph_ebm.factors.potts import potts_min as kernel
run = np.array([1, 2, 0, 0, 0, 0, 1, 9, 3, 0, 0, 0, 3, 0, 3, 0])
store, incoming = np.array([2.0]), np.array([0.0, 1.0, 5.0, 4.0, 0.0, 9.0])
out = np.full(6, -1.0)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    kernel(run, np.zeros(0, np.uint64), store, store, store, incoming, out, np.zeros(99), 0, 1, -1)
stats = getattr(kernel.compiled, "stats", None)
print(json.dumps({
    "answer": out.tolist(), "hits": sum(stats.cache_hits.values()) if stats else None,
    "warnings": [str(w.message) for w in said], "package": __import__("factorgraph_ebm").__file__,
}))
"""
# A package of the same name with two files of kernels: a tenth of a second to compile, where the library takes one.
SMALL = {
    "callee": """
from factorgraph_ebm._jit import inlined
@inlined
def twice(x):
    return x + x
""",
    "caller": """
from factorgraph_ebm._jit import READ_I8, REAL, addresses, kernel, measure
from factorgraph_ebm.callee import twice
@kernel(REAL, REAL)
def double(x):
    return twice(x)
@kernel(REAL, READ_I8, REAL)
def apply(kernels, x):
    return x + measure(kernels[0], (x,))
""",
}
ASK_SMALL = """
import json, warnings
from factorgraph_ebm._jit import addresses
from factorgraph_ebm.caller import apply, double
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    answers = [double(3.0), apply(addresses([double]), 3.0)]
print(json.dumps({"answers": answers, "warnings": [str(w.message) for w in said]}))
"""
RIGHT = [2.0, 0.0, 2.0, 0.0, 1.0, 2.0]
NOWHERE = "/dev/null/nowhere"  # not a directory: root cannot write there either


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory):
    """A copy of the package that the processes import: an edit while the tests run would begin another cache."""
    copy = tmp_path_factory.mktemp("site") / "factorgraph_ebm"
    shutil.copytree(pathlib.Path(fg.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(copy.parent))
        yield copy


def small_package(package, folder):
    """Make SMALL with the library's own `_jit` and `warmup`; return the folder to import it from."""
    copy = folder / "small" / "factorgraph_ebm"
    copy.mkdir(parents=True)
    (copy / "__init__.py").write_text("")
    for name in ("_jit", "_stamps", "warmup"):
        shutil.copy(package / f"{name}.py", copy)
    for name, text in SMALL.items():
        (copy / f"{name}.py").write_text(text)
    return copy.parent


def start(program=ASK, **changes):
    """A process with this one's environment, less what says where a cache may be, with `changes` (None: unset)."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_", "FACTORGRAPH_"))}
    environment = {k: str(v) for k, v in {**kept, **changes}.items() if v is not None}
    options = {"env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-P", "-c", program], **options)  # -P: not the package in this directory


def finish(process):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == ""
    return json.loads(out)


def ask(program=ASK, **changes):
    return finish(start(program, **changes))


def files(cache, pattern="*"):
    return sorted(p for p in pathlib.Path(cache).rglob(pattern) if p.is_file())


@pytest.fixture(scope="module")
def filled(package, tmp_path_factory):
    """A cache that one cold process has filled, to be copied."""
    cache = tmp_path_factory.mktemp("filled")
    cold = ask(FACTORGRAPH_EBM_CACHE_DIR=cache)
    assert (cold["answer"], cold["hits"], cold["warnings"]) == (RIGHT, 0, [])
    return cache


def test_a_second_process_compiles_nothing(filled):
    kept = {p: p.stat().st_mtime_ns for p in files(filled)}
    assert [p.suffix for p in kept] == [".nbc", ".nbi"]  # one kernel of one signature; nothing for what it inlines
    for directory in {p.parent for p in kept}:
        assert directory.parent == filled / "factorgraph_ebm"
        assert directory.stat().st_mode & 0o077 == 0, "machine code is loaded from here: it is the user's alone"
    warm = ask(FACTORGRAPH_EBM_CACHE_DIR=filled)
    assert (warm["answer"], warm["hits"], warm["warnings"]) == (RIGHT, 1, [])
    assert {p: p.stat().st_mtime_ns for p in files(filled)} == kept


def test_an_edited_callee_in_another_file_is_compiled_again(package, filled, tmp_path):
    """Numba's own cache looks at the kernel's file alone, and would serve the old code."""
    copy = tmp_path / "site" / "factorgraph_ebm"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    places = {"PYTHONPATH": copy.parent, "FACTORGRAPH_EBM_CACHE_DIR": shutil.copytree(filled, tmp_path / "cache")}
    callee = copy / "factors" / "message_kernels.py"
    text = callee.read_text()
    callee.write_text(f"# Lines that no kernel reads, which move those that it does.\n\n{text}\nUNREAD = 1\n")
    before = ask(**places)
    assert before["package"].startswith(str(copy))
    assert (before["answer"], before["hits"]) == (RIGHT, 1)
    assert text.count("return target == -1 or") == 1
    callee.write_text(text.replace("return target == -1 or", "return slot == 1 and target == -1 or"))
    after = ask(**places)
    assert after["hits"] == 0
    assert after["answer"] == [-1.0] * 3 + RIGHT[3:]  # the first slot is no target any more


@pytest.mark.parametrize("instead", ["None", "object()", "open(os.devnull, 'w')"])
def test_a_standard_error_that_is_none(package, tmp_path, instead):
    """None, as under pythonw; an object that knows nothing of terminals; a file that is closed."""
    closed = "\nif hasattr(sys.stderr, 'close'): sys.stderr.close()\n"
    program = f"import os, sys; sys.stderr = {instead}{closed}{ASK_SMALL}\nsys.stderr = sys.__stderr__"
    found = ask(program, PYTHONPATH=small_package(package, tmp_path), FACTORGRAPH_EBM_CACHE_DIR=tmp_path / "cache")
    assert found["answers"] == [6.0, 9.0]


@pytest.mark.parametrize("left", [0, 100], ids=["empty", "cut short"])
def test_truncated_files_are_healed(filled, tmp_path, left):
    cache = shutil.copytree(filled, tmp_path / "cache")
    for suffix in (".nbc", ".nbi"):
        for path in files(cache, f"*{suffix}"):
            path.write_bytes(path.read_bytes()[:left])
        healed = ask(FACTORGRAPH_EBM_CACHE_DIR=cache)
        assert (healed["answer"], healed["hits"]) == (RIGHT, 0)
    assert ask(FACTORGRAPH_EBM_CACHE_DIR=cache)["hits"] == 1


def test_sixteen_processes_on_an_empty_cache(package, tmp_path):
    """All compile the same kernels and write the same files at once."""
    site = small_package(package, tmp_path)
    cache = tmp_path / "cache"
    running = [start(ASK_SMALL, PYTHONPATH=site, FACTORGRAPH_EBM_CACHE_DIR=cache) for _ in range(16)]
    found = [finish(process) for process in running]
    assert found == [{"answers": [6.0, 9.0], "warnings": []}] * 16
    assert [p.suffix for p in files(cache)] == [".nbc", ".nbi"] * 2
    again = ask(f"{ASK_SMALL}\nassert double.loaded", PYTHONPATH=site, FACTORGRAPH_EBM_CACHE_DIR=cache)
    assert again["answers"] == [6.0, 9.0]


def test_a_terminal_is_told_once_that_kernels_are_compiled(package, tmp_path):
    """And only where they are: not from a full cache, and nothing where standard error is a pipe (`finish`)."""
    cache = tmp_path / "cache"
    environment = {**os.environ, "PYTHONPATH": small_package(package, tmp_path), "FACTORGRAPH_EBM_CACHE_DIR": cache}
    command = [sys.executable, "-P", "-c", ASK_SMALL]
    told, untold, nowhere = (
        run_at_terminal(command, env={k: str(v) for k, v in environment.items()}),
        run_at_terminal(command, env={k: str(v) for k, v in environment.items()}),
        run_at_terminal(
            [*command[:-1], f"import tempfile; tempfile.tempdir = {NOWHERE!r}\n{ASK_SMALL}"],
            env={k: str(v) for k, v in environment.items() if "CACHE" not in k} | {"HOME": NOWHERE},
        ),
    )
    assert [code for code, _, _ in (told, untold, nowhere)] == [0] * 3
    (line,) = told[2].splitlines()
    assert line.startswith("factorgraph_ebm: compiling kernels (once; cached in ") and str(cache) in line
    assert untold[2] == ""
    (line,) = nowhere[2].splitlines()
    assert line == "factorgraph_ebm: compiling kernels (in each process: no cache)"


def test_the_first_question_from_eight_threads(filled):
    """Kernels are compiled or loaded at their first use, whoever comes first."""
    threads = """
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda _: kernel.compiled is not None, range(8)))
    kernel(run,"""
    found = ask(ASK.replace("\n    kernel(run,", threads), FACTORGRAPH_EBM_CACHE_DIR=filled)
    assert (found["answer"], found["warnings"]) == (RIGHT, [])


def test_a_read_only_install_without_a_home(package, tmp_path):
    """HOME leads nowhere: the cache goes to the temporary directory, and nothing is written beside the sources."""
    copy = tmp_path / "site" / "factorgraph_ebm"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*copy.rglob("*"), copy]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    installed = files(copy)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    places = {"PYTHONPATH": copy.parent, "HOME": NOWHERE, "TMPDIR": temporary, "PYTHONDONTWRITEBYTECODE": 1}
    found = [ask(**places), ask(**places)]
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)  # so that pytest can tidy up
    assert [f["answer"] for f in found] == [RIGHT] * 2
    assert [f["hits"] for f in found] == [0, 1]
    assert [f["warnings"] for f in found] == [[], []]
    assert len(files(temporary)) == 2 and files(copy) == installed


def test_home_unset(tmp_path):
    """Whatever the system says of this user instead, there is an answer and no warning."""
    found = ask(HOME=None, TMPDIR=tmp_path)
    assert (found["answer"], found["warnings"]) == (RIGHT, [])


@pytest.mark.parametrize("temporary", ["unwritable", "none at all"])
def test_nowhere_writable(temporary):
    """One warning that says what to do, and the answer."""
    prelude = {
        "unwritable": f"import tempfile; tempfile.tempdir = {NOWHERE!r}\n",
        "none at all": (
            "import tempfile\ndef none():\n    raise FileNotFoundError('No usable temporary directory')\n"
            "tempfile.gettempdir = none\n"
        ),
    }[temporary]
    another = (
        "\n    from factorgraph_ebm.engine.variables import lowest_states\n    lowest_states.compiled\n    kernel(run,"
    )
    again = ASK.replace("\n    kernel(run,", another)
    found = ask(prelude + again, HOME=NOWHERE)
    assert found["answer"] == RIGHT
    assert len(found["warnings"]) == 1 and "FACTORGRAPH_EBM_CACHE_DIR" in found["warnings"][0]


def test_a_full_disk(tmp_path):
    """Directories can be made and files opened, but not a byte written: said once, and the answer."""
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    found = ask(full + ASK, FACTORGRAPH_EBM_CACHE_DIR=tmp_path)
    assert found["answer"] == RIGHT
    assert len(found["warnings"]) == 1 and "not written" in found["warnings"][0]


def test_somebody_else_s_directory_is_not_trusted(filled, tmp_path):
    """Cached code is unpickled: a directory of another owner is passed over."""
    if os.getuid() != 0:
        pytest.skip("only root can give a directory away")
    first, second = shutil.copytree(filled, tmp_path / "first"), tmp_path / "second"
    (directory,) = (first / "factorgraph_ebm").iterdir()
    os.chown(directory, 12345, 12345)
    found = ask(FACTORGRAPH_EBM_CACHE_DIR=first, NUMBA_CACHE_DIR=second)
    assert (found["answer"], found["hits"]) == (RIGHT, 0)
    assert len(files(second)) == 2


# Compiled ahead.


def test_warming_up_finds_whatever_is_declared(package, tmp_path):
    """A kernel in a new file joins by existing, and a package that is not installed is none of our business."""
    site = small_package(package, tmp_path)
    (site / "factorgraph_ebm" / "plots").mkdir()
    (site / "factorgraph_ebm" / "plots" / "__init__.py").write_text("import a_package_that_is_not_installed\n")
    warm = """
import json
from factorgraph_ebm.warmup import warm_up
said = []
warmed = warm_up(lambda *place: said.append(place))
print(json.dumps({"compiled": warmed.compiled, "loaded": warmed.loaded, "in": warmed.directory, "said": said}))
"""
    places = {"PYTHONPATH": site, "FACTORGRAPH_EBM_CACHE_DIR": tmp_path / "cache"}
    first, second = ask(warm, **places), ask(warm, **places)
    assert (first["compiled"], first["loaded"]) == (2, 0)
    assert (second["compiled"], second["loaded"]) == (0, 2)
    assert first["said"] == [[0, 2, "double"], [1, 2, "apply"]]
    assert str(files(tmp_path / "cache")[0].parent) == first["in"]
    (site / "factorgraph_ebm" / "plots" / "new.py").write_text(SMALL["caller"])
    (site / "factorgraph_ebm" / "plots" / "__init__.py").write_text("")
    third = ask(warm, **places)  # what was there has not changed
    assert (third["compiled"], third["loaded"]) == (2, 2)
    (site / "factorgraph_ebm" / "broken.py").write_text("import factorgraph_ebm.gone\n")
    broken = start(warm, **places)
    assert "No module named 'factorgraph_ebm.gone'" in broken.communicate(timeout=120)[1] and broken.returncode


def test_every_kernel_of_the_library_is_listed():
    listed = {id(kernel) for kernel in all_kernels()}
    modules = [module for name, module in sys.modules.items() if name.startswith("factorgraph_ebm.")]
    declared = [value for module in modules for value in vars(module).values()]
    kernels = [v for v in declared if isinstance(v, _jit.Kernel) and v.signature is not None]
    assert {id(kernel) for kernel in kernels} == listed
    assert {"pair_sum", "run_steps", "incidence"} <= {kernel.name for kernel in kernels}


# With the JIT off the same code runs as Python.

GRAPH = """
import numpy as np
import factorgraph_ebm as fg
rng = np.random.default_rng(0)
y = fg.output("y", shape=(3, 3), n_states=2)
z = fg.output("z", shape=2, n_states=5)
graph = fg.FactorGraph([
    fg.Table([y], energies=rng.normal(size=(3, 3, 2))),
    fg.Potts([y[1:], y[:-1]], penalty=rng.normal(size=(2, 3)) / 3),
    fg.Table([y[:, 1:], y[:, :-1]], energies=rng.normal(size=(2, 2)) / 3),
    fg.Table([y[0, 0], z[0], z[1]], energies=rng.normal(size=(2, 5, 5)) / 3),
    fg.Table([y[2, 2], z[1]], energies=np.where(rng.random((2, 5)) < 0.3, np.inf, rng.normal(size=(2, 5)))),
    fg.Potts([z[0], z[1]], penalty=0.7), fg.Product([z[0], z[1]], weight=0.2),
])
found = {}
for schedule in ("sequential", "flooding", "residual"):
    options = {"method": "bp", "schedule": schedule, "damping": 0.3, "tolerance": 1e-10}
    best, belief = fg.minimize(graph, **options), fg.marginals(graph, **options)
    found[schedule] = [best.energy, belief.log_partition, *belief["y"].ravel().tolist(), *belief["z"].ravel().tolist()]
chain = fg.FactorGraph([fg.Table([y.ravel()[1:], y.ravel()[:-1]], energies=rng.normal(size=(8, 2, 2)))])
summed = fg.minimize(chain, asked=[y[1, 1], y[1, 2]], latent="marginalize", method="bp")
found["mixed"] = [summed.energy]
found["tied"] = fg.marginals(chain, beta=np.inf, method="bp")["y"].ravel().tolist()
"""


def test_without_the_jit_the_numbers_are_the_same():
    strict = "import json, warnings; warnings.simplefilter('error')\n"
    running = start(strict + GRAPH + "print(json.dumps(found))", NUMBA_DISABLE_JIT=1)
    here: dict = {}
    exec(GRAPH, here)
    plain, fast = finish(running), here["found"]
    assert plain.keys() == fast.keys()
    for name in fast:
        np.testing.assert_allclose(plain[name], fast[name], rtol=1e-9, atol=1e-9, err_msg=name)


# What is hot is vectorised.


def has_avx2():
    try:
        return "avx2" in pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not has_avx2(), reason="no AVX2 on this processor")
@pytest.mark.parametrize(
    "module, name, instruction, least",
    [
        ("factors.pair_kernels", "pair_min", "v(add|min|cmp)", 2),
        ("factors.pair_kernels", "pair_min_single", "v(add|min|cmp|cvtps2)", 4),
        ("factors.pair_kernels", "pair_sum", "v(mul|fmadd)", 20),  # the polynomials of exp and log
        ("engine.variables", "sum_beliefs", "vadd", 1),
    ],
)
def test_hot_kernels_are_vectorised(module, name, instruction, least, monkeypatch):
    """A signed index, or a call of the C library, stops vectorisation without a word, and costs a factor of seven."""
    monkeypatch.setattr(_jit, "_cache_class", lambda: None)  # what comes from the cache cannot be looked at
    kernel = getattr(importlib.import_module(f"factorgraph_ebm.{module}"), name)
    compiled = _jit.Kernel(kernel.function, kernel.types).compiled
    if not hasattr(compiled, "inspect_asm"):
        pytest.skip("the JIT is off")
    (assembly,) = compiled.inspect_asm().values()
    assert len(re.findall(rf"{instruction}\w*pd\s.*%[yz]mm", assembly)) >= least


def test_the_private_names_of_numba_that_the_cache_uses():
    """Should one be gone, kernels are compiled in each process, with a warning: this test says so first."""
    from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

    assert hasattr(CompileResultCacheImpl, "get_filename_base")
    assert hasattr(FunctionCache, "_load_overload") and hasattr(FunctionCache, "_save_overload")
    assert hasattr(_CacheLocator, "get_disambiguator")
