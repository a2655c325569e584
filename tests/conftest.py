"""One precision, no silent promotion of ranks, shapes checked at run time, and a compilation cache shared by the workers."""

import os
import pathlib

# The CPU backend would take every core for every worker.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
_cache = pathlib.Path(os.environ.get("JAXMSM_TEST_CACHE", pathlib.Path(__file__).parent.parent / ".jax_cache"))
jax.config.update("jax_compilation_cache_dir", str(_cache))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

with install_import_hook("jaxmsm", "beartype.beartype"):
    import jaxmsm  # noqa: F401

_SHARED = pathlib.Path(__file__).parent.parent.parent / "shared"


@pytest.fixture
def shared() -> pathlib.Path:
    """The folder of reference data beside the checkout."""
    if not _SHARED.is_dir():
        pytest.skip(f"The reference data are not here: {_SHARED}")
    return _SHARED


@pytest.fixture(autouse=True)
def _fresh_trace_counts():
    # chex counts traces per function over the whole run (a counter that lives as long as the process).
    import chex

    chex.clear_trace_counter()


@pytest.fixture(autouse=True, scope="module")
def _programs_leave_with_their_module():
    # Hundreds of compiled programs in one process run into the limit on memory maps, and the process dies in the compiler.
    yield
    jax.clear_caches()
