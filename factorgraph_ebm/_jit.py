"""How kernels are compiled and where the machine code is kept: the only place that says so.

A kernel is a module-level function of arrays and numbers. `@kernel(...)` names its one signature, so that two
processes can never write two signatures of one function under one file name; nothing is compiled, and Numba is not
imported, before the first call. `@inlined` marks a small function that exists only inside kernels.

Numba's own cache is stamped with the file of the kernel alone and would serve stale code after an edit of a callee in
another file. Here the stamp, and the directory, is one digest of every source file of the package with the versions of
Numba and llvmlite and the name of the processor, so an edited or upgraded library never meets old code. The cache
directory is the first of these that can be made private to this user and written: `FACTORGRAPH_EBM_CACHE_DIR`,
`NUMBA_CACHE_DIR`, `XDG_CACHE_HOME`, `~/.cache`, the temporary directory. Where none is writable, kernels are compiled
in each process and a warning says so once. `KERNELS` lists all that a process knows, for `warmup.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import os
import pathlib
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

# Types of kernel arguments. Graph arrays are read-only; a writable array is accepted for a read-only argument.
READ_F8 = "Array(float64, 1, 'C', True)"
READ_I8 = "Array(int64, 1, 'C', True)"
READ_U8 = "Array(uint64, 1, 'C', True)"
READ_U4 = "Array(uint32, 1, 'C', True)"
READ_U1 = "Array(uint8, 1, 'C', True)"
F8 = "float64[::1]"
I8 = "int64[::1]"
U4 = "uint32[::1]"
U8 = "uint64[::1]"
U1 = "uint8[::1]"
# Types of addresses, for kernels that drivers call through pointers: see `engine.addresses`.
AT_F8 = "CPointer(float64)"
AT_I8 = "CPointer(int64)"
AT_U8 = "CPointer(uint64)"
AT_U4 = "CPointer(uint32)"
SIZE = "uint64"
INTEGER = "int64"
REAL = "float64"
NOTHING = "void"


KERNELS: list[Kernel] = []
"every kernel with a signature, drivers included, of the modules imported so far"


class Kernel:
    """A function that is compiled at its first use, for one signature (or inside its callers, if it has none)."""

    def __init__(self, function: Callable[..., Any], types: tuple[str, ...] | None) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.types = types
        self.signature = None if types is None else f"{types[0]}({', '.join(types[1:])})"
        self.name = function.__name__

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
        function.__dict__["kernel_signature"] = self.signature or ""
        return _compile(function, self.signature)

    @functools.cached_property
    def _from_python(self) -> Any:
        """What Python calls: a kernel of addresses is a C function, and takes arrays of the right types for them."""
        if self.types is None or not any(t.startswith("CPointer") for t in self.types):
            return self.compiled
        pointer = self.pointer
        if not hasattr(pointer, "address"):  # the JIT is off
            return pointer
        result, *arguments = (_in_c(t) for t in self.types)
        return ctypes.CFUNCTYPE(result, *arguments)(pointer.address)

    @property
    def loaded(self) -> bool | None:
        """Whether the compiled code came from the cache; None where the JIT is off."""
        stats = getattr(self.compiled, "stats", None)
        return None if stats is None else any(stats.cache_hits.values())

    @functools.cached_property
    def pointer(self) -> Any:
        """The compiled kernel as a value that drivers take in a tuple of pointers (see `Driver`)."""
        compiled = self.compiled
        if not hasattr(compiled, "overloads"):  # the JIT is off
            return compiled
        from numba.core.types import CompileResultWAP

        (result,) = compiled.overloads.values()
        return CompileResultWAP(result)


def _in_c(of: str) -> Any:
    """The type that ctypes knows a type of ours by."""
    if of.startswith("CPointer"):
        return np.ctypeslib.ndpointer(of[len("CPointer(") : -1], flags="C_CONTIGUOUS")
    return {NOTHING: None, SIZE: ctypes.c_uint64, INTEGER: ctypes.c_int64, REAL: ctypes.c_double}[of]


def _declare(function: Callable[..., Any], types: tuple[str, ...]) -> Kernel:
    KERNELS.append(Kernel(function, types))
    return KERNELS[-1]


def kernel(result: str, *arguments: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorate a module-level function as a kernel with this one signature."""
    return lambda function: _declare(function, (result, *arguments))


def inlined(function: Callable[..., Any]) -> Kernel:
    """Decorate a small function that is used inside kernels only, for any types."""
    return Kernel(function, None)


POINTER_COUNTS = (2, 4, 16)
"lengths of tuples of kernels; a driver is compiled for each length that occurs, since passing a kernel takes 10 us"


class Driver:
    """A kernel whose first argument is a tuple of kernels of one signature, called through pointers.

    A driver that calls kernels through pointers compiles in a third of a second, whatever they are; one that names
    them optimises all of them again inside itself.
    """

    def __init__(self, function: Callable[..., Any], pointed: tuple[str, ...], signature: tuple[str, ...]) -> None:
        functools.update_wrapper(self, function)
        pointer = f"FunctionType({pointed[0]}({', '.join(pointed[1:])}))"
        self.kernels = {
            count: _declare(function, (signature[0], f"UniTuple({pointer}, {count})", *signature[1:]))
            for count in POINTER_COUNTS
        }

    def __call__(self, kernels: tuple[Any, ...], *arguments: Any) -> Any:
        return self.kernels[len(kernels)](kernels, *arguments)


def driver(pointed: tuple[str, ...], *signature: str) -> Callable[[Callable[..., Any]], Driver]:
    """Decorate a driver of kernels with the signature `pointed`; its own is result, then arguments after the tuple."""
    return lambda function: Driver(function, pointed, signature)


def pointer_type(result: str, *arguments: str) -> str:
    """The type of a driver's argument that is one kernel: a tuple of one (see `pointer_to`)."""
    return f"UniTuple(FunctionType({result}({', '.join(arguments)})), 1)"


class Intrinsic(Kernel):
    """An instruction that no Python expression names; with the JIT off, a plain function that does the same."""

    def __init__(self, build: Callable[..., Any], plain: Callable[..., Any]) -> None:
        super().__init__(plain, None)
        self.build = build

    @functools.cached_property
    def compiled(self) -> Any:
        import numba

        return self.function if numba.config.DISABLE_JIT else numba.extending.intrinsic(self.build)  # type: ignore[attr-defined]


def intrinsic(plain: Callable[..., Any]) -> Callable[[Callable[..., Any]], Intrinsic]:
    """Decorate a function (typing context, types) -> (signature, code builder); `plain` stands in without the JIT."""
    return lambda build: Intrinsic(build, plain)


class Pointers(tuple[Any, ...]):
    """A tuple of kernels that knows its Numba type: Numba would find it anew at each call, slowly, with a warning."""

    numba_type: Any = None


@functools.cache
def _register_pointers() -> None:
    import numba

    numba.extending.typeof_impl.register(Pointers)(lambda value, _: value.numba_type)


def pointers(kernels: Sequence[Kernel]) -> Pointers:
    """A tuple of kernels for a driver, filled up to one of the lengths that drivers are compiled for."""
    count = next(c for c in POINTER_COUNTS if c >= len(kernels))
    return _pointers([*kernels, *[kernels[0]] * (count - len(kernels))])


def pointer_to(kernel: Kernel) -> Pointers:
    """One kernel for an argument of type `pointer_type`."""
    return _pointers([kernel])


def _pointers(kernels: Sequence[Kernel]) -> Pointers:
    values = Pointers(k.pointer for k in kernels)
    if hasattr(values[0], "signature"):
        import numba

        _register_pointers()
        kernel_type = numba.types.FunctionType(values[0].signature())
        values.numba_type = numba.types.UniTuple(kernel_type, len(values))  # type: ignore[no-untyped-call]
    return values


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

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=numba.core.errors.NumbaExperimentalFeatureWarning)
        # No flag that assumes finite numbers: +inf is a forbidden state.
        options: dict[str, Any] = {
            "nogil": True,
            "error_model": "numpy",
            "fastmath": {"contract", "nsz", "arcp"},
        }
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
            return os.path.basename(directory)

        def get_disambiguator(self) -> str:
            return f"{self.function.__module__}-{self.function.__code__.co_firstlineno}"

    class Implementation(CompileResultCacheImpl):
        def __init__(self, function: types.FunctionType) -> None:
            self._lineno = function.__code__.co_firstlineno
            self._locator = Locator(function)
            variant = hashlib.sha256(function.__dict__["kernel_signature"].encode()).hexdigest()[:8]
            name = f"{function.__module__}.{function.__qualname__}-{variant}"
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
    digest = _source_digest()
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


def _source_digest() -> str:
    import llvmlite.binding  # type: ignore[import-untyped]
    import numba

    digest = hashlib.sha256()
    package = pathlib.Path(__file__).parent
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    host = llvmlite.binding.get_host_cpu_name()
    digest.update(f"{numba.__version__} {llvmlite.__version__} {host}".encode())
    return digest.hexdigest()[:24]
