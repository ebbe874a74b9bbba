"""How kernels are compiled and where the machine code is kept: the only place that says so.

A kernel is a module-level function of arrays and numbers. `@kernel(...)` names its one signature, so that two
processes can never write two signatures of one function under one file name; nothing is compiled, and Numba is not
imported, before the first call. `@inlined` marks a small function that exists only inside kernels.

Machine code is kept under a digest of all that it was made from (`_stamps`), in a directory for each set of versions of
Python, NumPy, Numba and llvmlite, processor and way of compiling: an edited or upgraded library never meets old code,
and compiles again only what differs. The cache directory is the first of these that can be made private to this user
and written: `FACTORGRAPH_EBM_CACHE_DIR`, `NUMBA_CACHE_DIR`, `XDG_CACHE_HOME`, `~/.cache`, the temporary directory.
Where none is writable, kernels are compiled in each process and a warning says so once. `KERNELS` lists all that a
process knows, for `warmup.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from factorgraph_ebm._stamps import Traced, file_digest, stamp

# Types of kernel arguments. Graph arrays are read-only; a writable array is accepted for a read-only argument.
READ_F8 = "Array(float64, 1, 'C', True)"
READ_I8 = "Array(int64, 1, 'C', True)"
READ_U8 = "Array(uint64, 1, 'C', True)"
READ_U4 = "Array(uint32, 1, 'C', True)"
READ_U1 = "Array(uint8, 1, 'C', True)"
F8 = "float64[::1]"
F4 = "float32[::1]"
I8 = "int64[::1]"
U4 = "uint32[::1]"
U8 = "uint64[::1]"
U1 = "uint8[::1]"
# Addresses of arrays, for kernels that other kernels call by address: see `engine.addresses`.
AT_F8 = "CPointer(float64)"
AT_I8 = "CPointer(int64)"
AT_U8 = "CPointer(uint64)"
AT_U4 = "CPointer(uint32)"
AT_U1 = "CPointer(uint8)"
SIZE = "uint64"
INTEGER = "int64"
REAL = "float64"
FUNCTION = "int64"
"address of a kernel that is called with `call` or `measure`"
NOTHING = "void"


KERNELS: list[Kernel] = []
"every kernel with a signature of the modules imported so far"


class Kernel(Traced):
    """A function that is compiled at its first use, for one signature (or inside its callers, if it has none)."""

    def __init__(self, function: Callable[..., Any], types: tuple[str, ...] | None) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.types = types
        "of the result and of the arguments; None: whatever its callers give"
        self.signature = None if types is None else f"{types[0]}({', '.join(types[1:])})"
        self.name = function.__name__

    def besides(self) -> str:
        return self.signature or ""

    def __call__(self, *arguments: Any) -> Any:
        return self._from_python(*arguments)

    @functools.cached_property
    def compiled(self) -> Any:
        """The Numba dispatcher (the plain function where `NUMBA_DISABLE_JIT` is set)."""
        # Numba must see dispatchers, not `Kernel` objects, under the names that the function uses.
        uses = self.function.__code__.co_names
        module = self.function.__globals__
        names = {name: module[name].compiled for name in uses if isinstance(module.get(name), Kernel)}
        function = types.FunctionType(self.function.__code__, {**module, **names}, self.function.__name__)
        function.__module__ = self.function.__module__
        function.__qualname__ = self.function.__qualname__
        if self.signature is not None:
            function.__dict__["kernel_stamp"] = stamp(self)
        return _compile(function, self.signature)

    @functools.cached_property
    def _from_python(self) -> Any:
        """What Python calls: a kernel of addresses is a C function, and takes arrays of the right types for them."""
        if self.types is None or not any(t.startswith("CPointer") for t in self.types):
            return self.compiled
        if callable(self.address):  # the JIT is off
            return self.address
        result, *arguments = (_in_c(t) for t in self.types)
        return ctypes.CFUNCTYPE(result, *arguments)(self.address)

    @property
    def loaded(self) -> bool | None:
        """Whether the compiled code came from the cache; None where the JIT is off."""
        stats = getattr(self.compiled, "stats", None)
        return None if stats is None else any(stats.cache_hits.values())

    @functools.cached_property
    def address(self) -> Any:
        """Where the machine code is, for `call` and `measure`; with the JIT off, the function itself.

        Raises
        ------
        TypeError : it takes arrays: declare addresses of them.
        """
        if self.signature is not None and _takes_arrays(self.signature):
            raise TypeError(f"kernel {self.name} takes arrays, and so has no address. Declare AT_F8 for F8, and so on.")
        compiled = self.compiled
        if not hasattr(compiled, "overloads"):
            return compiled
        (result,) = compiled.overloads.values()
        return result.library.get_pointer_to_function(result.fndesc.llvm_cfunc_wrapper_name)


def _takes_arrays(signature: str) -> bool:
    return "Array(" in signature or "[" in signature


def _in_c(of: str) -> Any:
    """The type that ctypes knows a type of ours by."""
    if of.startswith("CPointer"):
        return np.ctypeslib.ndpointer(of[len("CPointer(") : -1], flags="C_CONTIGUOUS")
    return {NOTHING: None, SIZE: ctypes.c_uint64, INTEGER: ctypes.c_int64, REAL: ctypes.c_double}[of]


def kernel(result: str, *arguments: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorate a module-level function as a kernel with this one signature."""

    def declare(function: Callable[..., Any]) -> Kernel:
        KERNELS.append(Kernel(function, (result, *arguments)))
        return KERNELS[-1]

    return declare


def inlined(function: Callable[..., Any]) -> Kernel:
    """Decorate a small function that is used inside kernels only, for any types."""
    return Kernel(function, None)


class Intrinsic(Kernel):
    """An instruction that no Python expression names; with the JIT off, a plain function that does the same."""

    def __init__(self, build: Callable[..., Any], plain: Callable[..., Any]) -> None:
        super().__init__(plain, None)
        self.build = build

    def besides(self) -> str:
        cells = [cell.cell_contents for cell in self.build.__closure__ or ()]
        return f"{file_digest(self.build.__module__)} {[each for each in cells if isinstance(each, str)]}"

    @functools.cached_property
    def compiled(self) -> Any:
        import numba

        return self.function if numba.config.DISABLE_JIT else numba.extending.intrinsic(self.build)  # type: ignore[attr-defined]


def intrinsic(plain: Callable[..., Any]) -> Callable[[Callable[..., Any]], Intrinsic]:
    """Decorate a function (typing context, types) -> (signature, code builder); `plain` stands in without the JIT."""
    return lambda build: Intrinsic(build, plain)


def addresses(kernels: Iterable[Kernel]) -> Any:
    """Addresses of kernels, for a kernel that calls them with `call` or `measure`."""
    found = [kernel.address for kernel in kernels]
    return found if any(map(callable, found)) else np.array(found, np.int64)


def _calling(result: str) -> Intrinsic:
    """An instruction: call the kernel at an address with a tuple of numbers and addresses of arrays.

    A kernel that calls others so compiles once and in a moment, whatever they are; one that names them optimises all
    of them again inside itself. Nothing checks the arguments against the signature of who is called.
    """

    @intrinsic(lambda kernel, arguments: kernel(*arguments))
    def calling(typing: Any, kernel: Any, arguments: Any) -> Any:
        from llvmlite import ir  # type: ignore[import-untyped]
        from numba.core import types

        returned = getattr(types, result)

        def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kinds = [context.get_value_type(of) for of in arguments]
            gives = ir.VoidType() if result == NOTHING else context.get_value_type(returned)
            called = builder.inttoptr(values[0], ir.FunctionType(gives, kinds).as_pointer())
            found = builder.call(called, [builder.extract_value(values[1], i) for i in range(len(kinds))])
            return context.get_dummy_value() if result == NOTHING else found

        return returned(kernel, arguments), build

    return calling


call = _calling(NOTHING)
measure = _calling(REAL)


_said: dict[str, object] = {}


def first_time(what: str) -> bool:
    """Whether this is the first time that the process would say this, whichever thread asks."""
    token = object()
    return _said.setdefault(what, token) is token


def _say_compiling() -> None:
    """Tell whoever sits at a terminal why the first answer takes seconds."""
    # Standard error may be None, closed, an object of the user's, or a terminal that has gone.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        if sys.stderr.isatty() and first_time("compiling"):
            directory = cache_directory()
            where = "in each process: no cache" if directory is None else f"once; cached in {directory}"
            sys.stderr.write(f"factorgraph_ebm: compiling kernels ({where})\n")
            sys.stderr.flush()


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Numba's modules and the compiler make millions of objects that stay: looking for cycles takes a tenth of it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_collections()
def _compile(function: types.FunctionType, signature: str | None) -> Any:
    import numba  # at the first question, not at `import factorgraph_ebm`: it takes a quarter of a second

    # No flag that assumes finite numbers: +inf is a forbidden state.
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": {"contract", "nsz", "arcp"},
    }
    # No way in is compiled that nobody takes: Python gives arrays, and kernels of addresses are called as C functions.
    options["no_cpython_wrapper"] = signature is None or "CPointer" in signature
    options["no_cfunc_wrapper"] = signature is None or _takes_arrays(signature)
    dispatcher = numba.njit(**options)(function)
    if signature is None or numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return dispatcher
    cache = _cache_class()
    if cache is None:
        _say_compiling()
    else:
        dispatcher._cache = cache(function)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


@functools.cache
def _cache_class() -> Any:
    """A cache of Numba's that keeps its files in our directory, or None where there can be none."""
    found = cache_directory()
    if found is None:
        return None
    directory: str = found
    try:
        from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
    except ImportError:  # private names: a later Numba may move them
        warnings.warn("kernels are not cached: this version of Numba keeps its cache elsewhere", RuntimeWarning)
        return None

    class Locator(_CacheLocator):
        def __init__(self, function: types.FunctionType) -> None:
            self.function = function

        def get_cache_path(self) -> str:
            return directory

        def get_source_stamp(self) -> str:
            return str(self.function.__dict__["kernel_stamp"])

        def get_disambiguator(self) -> str:
            return self.function.__module__

    class Implementation(CompileResultCacheImpl):
        def __init__(self, function: types.FunctionType) -> None:
            self._lineno = 0  # it would be part of the name
            self._locator = Locator(function)
            name = f"{function.__module__}.{function.__qualname__}-{function.__dict__['kernel_stamp'][:24]}"
            self._filename_base = self.get_filename_base(name, "")  # type: ignore[no-untyped-call]

    class Cache(FunctionCache):
        _impl_class = Implementation

        def _load_overload(self, signature: Any, target: Any) -> Any:
            found = None
            # A truncated or foreign file: compile again, and write over it.
            with contextlib.suppress(Exception):
                found = super()._load_overload(signature, target)  # type: ignore[no-untyped-call]
            if found is None:
                _say_compiling()
            return found

        def _save_overload(self, signature: Any, data: Any) -> None:
            try:
                try:
                    super()._save_overload(signature, data)  # type: ignore[no-untyped-call]
                except OSError:
                    raise
                except Exception:  # an index that cannot be read, cut short by a crash: begin a new one
                    self.flush()  # type: ignore[no-untyped-call]
                    super()._save_overload(signature, data)  # type: ignore[no-untyped-call]
            except OSError as error:
                if first_time("not written"):
                    warnings.warn(f"kernel cache not written: {error}", RuntimeWarning)

    return Cache


@functools.cache
def cache_directory() -> str | None:
    environment = os.environ
    roots = [environment.get("FACTORGRAPH_EBM_CACHE_DIR"), environment.get("NUMBA_CACHE_DIR")]
    roots.append(environment.get("XDG_CACHE_HOME"))
    home = os.path.expanduser("~")
    if os.path.isabs(home):
        roots.append(os.path.join(home, ".cache"))
    digest = _environment_digest()
    for root in filter(None, [*roots, _temporary()]):
        directory = os.path.join(root, "factorgraph_ebm", digest)
        if _is_private_and_writable(directory):
            return directory
    warnings.warn(
        "kernels are compiled anew in each process: no cache directory is writable. "
        "Set FACTORGRAPH_EBM_CACHE_DIR to one that is.",
        RuntimeWarning,
    )
    return None


def _temporary() -> str | None:
    try:
        user = os.getuid() if hasattr(os, "getuid") else ""
        return os.path.join(tempfile.gettempdir(), f"factorgraph-ebm-{user}")
    except OSError:  # there is no temporary directory
        return None


def _is_private_and_writable(directory: str) -> bool:
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        # Cached code is loaded by unpickling: only from a directory that nobody else could have filled.
        if hasattr(os, "getuid") and os.stat(directory).st_uid != os.getuid():
            return False
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def _environment_digest() -> str:
    """Of what all kernels depend on: versions, the processor, and how code is compiled."""
    import llvmlite.binding  # type: ignore[import-untyped]
    import numba

    host = llvmlite.binding.get_host_cpu_name()
    versions = f"{sys.version_info[:2]} {np.__version__} {numba.__version__} {llvmlite.__version__} {host}"
    return hashlib.sha256(f"{versions} {file_digest(__name__)}".encode()).hexdigest()[:24]
