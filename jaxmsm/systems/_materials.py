"""From the materials of a file or of flags to the laws of a cell."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..io import InputError, Materials, Phase, make_phase
from ..solids import (
    J2,
    AbstractHardening,
    AbstractLaw,
    AnisotropicConductivity,
    ArmstrongFrederick,
    Conductivity,
    Cubic,
    Eigenstrain,
    Elastic,
    FiniteJ2,
    Linear,
    NeoHookean,
    Orthotropic,
    PlaneStress,
    Prager,
    Rotated,
    SaintVenantKirchhoff,
    Voce,
    lame,
)


def make_laws(materials: Materials, d: int, *, plane_stress: bool = False) -> list[AbstractLaw]:
    """One law a phase, for an image of d dimensions (in 2D: plane strain unless `plane_stress`)."""
    laws = [make_law(phase, d) for phase in materials.phases]
    if len({law.scalar for law in laws}) > 1:
        raise InputError("The phases must all conduct or all deform, but some have the law `conductivity` and others have not.")
    if not plane_stress:
        return laws
    if d != 2 or laws[0].scalar:
        raise InputError("Plane stress is for mechanics of 2D images, but this is " + ("conduction." if laws[0].scalar else "3D."))
    return [PlaneStress(law) for law in laws]


def make_law(phase: Phase, d: int) -> AbstractLaw:
    """The law of one phase, swollen and turned where the numbers say so."""
    n: dict[str, Any] = dict(phase.numbers)
    if phase.law == "conductivity":
        return _conductivity(n["k"], d, phase.name)
    try:
        law = _LAWS[phase.law](n)
    except ValueError as error:
        raise InputError(f"Phase `{phase.name}`: {error}") from None
    if "eigenstrain" in n:
        law = Eigenstrain(law, jnp.diag(jnp.array(_normal(n["eigenstrain"], phase.name))))
    if "angle" in n:
        law = Rotated(law, jnp.asarray(rotation(n["angle"], n.get("axis", (0.0, 0.0, 1.0)))))
    return law


def flag_materials(E: Sequence[float], nu: Sequence[float], k: Sequence[float]) -> Materials:
    """Elastic or conducting phases from the numbers of the flags `--E --nu` or `--k`."""
    if bool(k) == bool(E):
        raise InputError("Give the materials as --materials FILE, as --E ... --nu ... or as --k ..., one of the three.")
    if E and len(nu) not in (1, len(E)):
        raise InputError(f"Flag --nu must have one number or one a phase ({len(E)} by --E), but has {len(nu)}.")
    if k and nu:
        raise InputError("Flag --nu goes with --E, but --k was given.")
    if k:
        entries: list[dict[str, Any]] = [{"law": "conductivity", "k": x} for x in k]
    else:
        entries = [{"law": "elastic", "E": x, "nu": y} for x, y in zip(E, list(nu) * len(E) if len(nu) == 1 else nu)]
    return Materials(tuple(make_phase({"name": f"phase {i}"} | e, where=f"Phase {i}: ") for i, e in enumerate(entries)))


def rotation(angle: float, axis: Sequence[float]) -> np.ndarray:
    """The rotation by an angle in degrees about an axis (Rodrigues), shape (3, 3)."""
    x, y, z = np.asarray(axis, float) / np.linalg.norm(axis)
    W = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    t = np.deg2rad(angle)
    return np.eye(3) + np.sin(t) * W + (1 - np.cos(t)) * W @ W


def _moduli(kind: Any) -> Callable[[dict], AbstractLaw]:
    def make(n):
        lam, mu = _lame(n)
        return kind(lam=lam, mu=mu)

    return make


def _lame(n: dict) -> tuple[Any, Any]:
    if "E" in n:
        return lame(n["E"], n["nu"])
    if "K" in n:
        return n["K"] - 2 * n["G"] / 3, n["G"]
    return n["lam"], n["mu"]


def _j2(n: dict) -> J2:
    lam, mu = _lame(n)
    kinematic: Any = None
    if "kinematic" in n:
        kinematic = ArmstrongFrederick(C=n["kinematic"], recall=n["recall"]) if "recall" in n else Prager(n["kinematic"])
    return J2(lam=lam, mu=mu, hardening=_hardening(n), kinematic=kinematic)


def _finite_j2(n: dict) -> FiniteJ2:
    lam, mu = _lame(n)
    return FiniteJ2(lam=lam, mu=mu, hardening=_hardening(n))


def _hardening(n: dict) -> AbstractHardening:
    if "s_inf" in n:
        return Voce(sy=n["sy"], H=n.get("H", 0.0), s_inf=n["s_inf"], delta=n["delta"])
    return Linear(sy=n["sy"], H=n.get("H", 0.0))


def _conductivity(k, d: int, name: str) -> AbstractLaw:
    if not isinstance(k, tuple):
        return Conductivity(k)
    if len(k) != d:
        raise InputError(f"Phase `{name}`: `k` must be one number or {d}, one an axis of the image, but has {len(k)}.")
    return AnisotropicConductivity(jnp.diag(jnp.array(k)))


def _normal(strain, name: str) -> list[float]:
    if not isinstance(strain, tuple):
        return [strain] * 3
    if len(strain) not in (2, 3):
        raise InputError(f"Phase `{name}`: `eigenstrain` must be one number or one an axis (2 or 3), but has {len(strain)}.")
    return [*strain, 0.0][:3]


_LAWS: dict[str, Callable[[dict], AbstractLaw]] = {
    "elastic": _moduli(Elastic),
    "cubic": lambda n: Cubic(C11=n["C11"], C12=n["C12"], C44=n["C44"]),
    "orthotropic": lambda n: Orthotropic.from_engineering(**{k: v for k, v in n.items() if k[0] in "EnG"}),
    "neo-hookean": _moduli(NeoHookean),
    "svk": _moduli(SaintVenantKirchhoff),
    "j2": _j2,
    "finite-j2": _finite_j2,
}
