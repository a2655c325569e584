"""A law or a body of a continuum: energies, rates and updates, with and without history.

Units: any consistent set; moduli and stresses share one, strains are plain numbers. Laws take loads of shape (2, 2) (plane strain)
or (3, 3), laws of conduction of shape (2,) or (3,).
"""

from ._body import Body as Body
from ._bounds import (
    hashin_shtrikman as hashin_shtrikman,
    hashin_shtrikman_conductivity as hashin_shtrikman_conductivity,
    reuss as reuss,
    voigt as voigt,
)
from ._conditions import (
    AbstractCondition as AbstractCondition,
    BodyForce as BodyForce,
    Fixed as Fixed,
    Force as Force,
    Moved as Moved,
    Pressure as Pressure,
    Springs as Springs,
    Symmetry as Symmetry,
    Table as Table,
    Tied as Tied,
    Traction as Traction,
    always as always,
)
from ._conduction import AnisotropicConductivity as AnisotropicConductivity, Conductivity as Conductivity
from ._crystal import Crystal as Crystal, CrystalPlasticity as CrystalPlasticity
from ._damage import (
    AbstractMeasure as AbstractMeasure,
    AbstractSoftening as AbstractSoftening,
    Damage as Damage,
    Damaged as Damaged,
    EnergyNorm as EnergyNorm,
    ExponentialSoftening as ExponentialSoftening,
    LinearSoftening as LinearSoftening,
    Mazars as Mazars,
    ModifiedMises as ModifiedMises,
)
from ._density import ramp as ramp, simp as simp
from ._effective import (
    engineering_constants as engineering_constants,
    from_voigt as from_voigt,
    symmetry_class as symmetry_class,
    to_voigt as to_voigt,
)
from ._elastic import Anisotropic as Anisotropic, Cubic as Cubic, Elastic as Elastic, Orthotropic as Orthotropic
from ._finite import NeoHookean as NeoHookean, SaintVenantKirchhoff as SaintVenantKirchhoff
from ._finite_plastic import FiniteJ2 as FiniteJ2, FinitePlastic as FinitePlastic
from ._hardening import (
    AbstractHardening as AbstractHardening,
    ArmstrongFrederick as ArmstrongFrederick,
    Linear as Linear,
    Prager as Prager,
    Voce as Voce,
)
from ._kinematics import parts as parts, strain as strain, whole as whole
from ._law import AbstractLaw as AbstractLaw, ComponentLaw as ComponentLaw
from ._medium import (
    Group as Group,
    Medium as Medium,
    cast as cast,
    group as group,
    known as known,
    undeformed as undeformed,
)
from ._network import InputConvex as InputConvex, Polyconvex as Polyconvex
from ._observe import (
    AbstractObserver as AbstractObserver,
    Deformation as Deformation,
    Displacement as Displacement,
    ElementDeformation as ElementDeformation,
    ElementStress as ElementStress,
    Fields as Fields,
    MeanStress as MeanStress,
    Reaction as Reaction,
    Stress as Stress,
)
from ._own import Law as Law
from ._parameters import lame as lame, leaf_ranks as leaf_ranks
from ._plastic import J2 as J2, Plastic as Plastic
from ._plastic_network import PlasticNetwork as PlasticNetwork, Units as Units
from ._stability import acoustic_eigenvalue as acoustic_eigenvalue
from ._viscoelastic import Maxwell as Maxwell, Viscoelastic as Viscoelastic
from ._wrappers import Eigenstrain as Eigenstrain, PlaneStress as PlaneStress, Rotated as Rotated, Thermal as Thermal
