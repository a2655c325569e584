"""A law or a body of a continuum: energies, rates and updates, with and without history.

Units: any consistent set; moduli and stresses share one, strains are plain numbers. Laws take loads of shape (2, 2) (plane strain)
or (3, 3), laws of conduction of shape (2,) or (3,).
"""

from ._conduction import AnisotropicConductivity as AnisotropicConductivity
from ._conduction import Conductivity as Conductivity
from ._elastic import Anisotropic as Anisotropic
from ._elastic import Cubic as Cubic
from ._elastic import Elastic as Elastic
from ._elastic import Orthotropic as Orthotropic
from ._finite import NeoHookean as NeoHookean
from ._finite import SaintVenantKirchhoff as SaintVenantKirchhoff
from ._hardening import AbstractHardening as AbstractHardening
from ._hardening import ArmstrongFrederick as ArmstrongFrederick
from ._hardening import Linear as Linear
from ._hardening import Prager as Prager
from ._hardening import Voce as Voce
from ._kinematics import strain as strain
from ._law import AbstractLaw as AbstractLaw
from ._plastic import J2 as J2
from ._plastic import Plastic as Plastic
from ._stability import acoustic_eigenvalue as acoustic_eigenvalue
from ._wrappers import Eigenstrain as Eigenstrain
from ._wrappers import PlaneStress as PlaneStress
from ._wrappers import Rotated as Rotated
from ._wrappers import thermal as thermal
