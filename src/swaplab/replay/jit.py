"""The one door to the compiler.

The same source runs compiled (the default) and interpreted (``NUMBA_DISABLE_JIT=1``): for debugging, for coverage and
to test that both give the same bytes. Integers are read out of records with `wide`: compiled, every function then has
one signature; interpreted, arithmetic does not wrap at the width of a field.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from llvmlite.binding import Linkage
from numba.core import ir
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, LoweringPass, register_pass
from numba.core.ir_utils import get_definition, guard
from numba.core.typed_passes import AnnotateTypes
from numba.core.untyped_passes import RewriteSemanticConstants

from swaplab import linux
from swaplab.compress.jit import keep
from swaplab.linux.release import Features
from swaplab.policy import told
from swaplab.replay.state import Parts
from swaplab.result import counters
from swaplab.scenario import content

__all__ = ["entry", "inline", "jit", "wide"]

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

wide = cast("Callable[[Any], int]", np.int64)
"""An integer of any width as an int64."""


class Part(JITCodeLibrary):
    """Code of a function that only compiled code calls: neither optimised nor made runnable, only linked into that."""

    @property
    def codegen(self) -> Part:
        """The method of a library that numba calls for `set_env`, and for nothing else."""
        return self

    def set_env(self, name: str, env: Any) -> None:
        """Do nothing, as there is no code yet that could look into the environment."""

    def get_pointer_to_function(self, name: str) -> int:
        """Null, as there is nothing to call."""
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class Whole(JITCodeLibrary):
    """Code of a function that Python calls and of all that it calls in turn, optimised together."""

    def _optimize_final_module(self) -> None:
        # Known to be called from nowhere else, a function may lose its arguments, its status and itself.
        for function in self._final_module.functions:
            if function.linkage == Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = Linkage.internal
        super()._optimize_final_module()


@register_pass(mutates_CFG=True, analysis_only=False)
class KnowFeatures(FunctionPass):
    """Make ``m.linux.some_feature`` what it is for this type of machine, so that what it rules out is not compiled.

    And likewise ``m.has.some_part``.
    """

    _name = "know_features"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Put constants in the place of features; numba's own pass then prunes dead branches."""
        program, known = state.func_ir, False
        for block in program.blocks.values():
            for statement in block.find_insts(ir.Assign):
                if (value := self._value(state, statement.value)) is not None:
                    program._definitions[statement.target.name] = [constant := ir.Const(value, statement.loc)]
                    statement.value = constant
                    known = True
        return known

    def _value(self, state: Any, expression: Any) -> object:
        """The known value of an expression: the machine's features, or one of them; None for all others."""
        if not (isinstance(expression, ir.Expr) and expression.op == "getattr"):
            return None
        of = guard(get_definition, state.func_ir, expression.value)
        if isinstance(of, ir.Arg) and expression.attr in ("linux", "has"):
            return getattr(state.args[of.index], expression.attr, None)
        is_known = isinstance(of, ir.Const) and isinstance(of.value, Features | Parts)
        return getattr(of.value, expression.attr) if is_known else None


@register_pass(mutates_CFG=False, analysis_only=True)
class ChooseLibrary(LoweringPass):
    """Say that a function is to become a `Part` or a `Whole`."""

    _name = "choose_library"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Set the library that lowering writes to."""
        kind = Part if state.flags.no_cpython_wrapper else Whole
        state.library = kind(state.targetctx.codegen(), state.func_id.func_qualname)
        if kind is Whole:
            state.library.enable_object_caching()
        return False


class WholeProgramCompiler(CompilerBase):
    """Optimise each program once, where numba would optimise every function again in each of its callers."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes, `KnowFeatures` ahead of pruning and `ChooseLibrary` ahead of lowering."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(KnowFeatures, RewriteSemanticConstants)
        passes.add_pass_after(ChooseLibrary, AnnotateTypes)
        passes.finalize()
        return [passes]


COMMON: dict[str, Any] = {"pipeline_class": WholeProgramCompiler, "error_model": "numpy", "no_cfunc_wrapper": True}
INTERNAL: dict[str, Any] = {**COMMON, "no_cpython_wrapper": True, "_nrt": False}
ENTRY: dict[str, Any] = {**COMMON, "nogil": True}


@cache
def fingerprint() -> str:
    """Hash of all source that is compiled: a cached function holds its callees, which may be in other files."""
    own, facts = Path(__file__).parent, Path(linux.__path__[0])
    files = [*own.glob("*.py"), *facts.glob("*.py"), *(Path(str(each.__file__)) for each in (content, counters, told))]
    return sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def jit(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Compile `function`, in nopython mode, into the compiled functions that call it. Python cannot call it."""
    # Told nothing, numba inlines by force all that an inlined function calls, down to the OOM killer.
    return cast("Callable[Parameters, Returned]", numba.njit(**INTERNAL, forceinline=False)(function))


def inline(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """`jit` a function that runs on every fault right into its callers: numba's calls cost as much as what it does."""
    return cast("Callable[Parameters, Returned]", numba.njit(**INTERNAL, forceinline=True)(function))


def entry(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Compile `function` for Python to call; the first call compiles, and all later processes load the result.

    What is kept is valid for this `fingerprint`.
    """
    return keep(cast("Callable[Parameters, Returned]", numba.njit(**ENTRY)(function)), fingerprint)
