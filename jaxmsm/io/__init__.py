"""Files in and out."""

from ._checkpoint import Checkpoint as Checkpoint
from ._folder import fresh_folder as fresh_folder, live_folder as live_folder, whole_folder as whole_folder
from ._hdf5 import HDF5Sink as HDF5Sink
from ._images import image_spacing as image_spacing, read_image as read_image
from ._input import InputError as InputError, needs as needs
from ._inputs import keep_inputs as keep_inputs
from ._materials import (
    LAWS as LAWS,
    Materials as Materials,
    Phase as Phase,
    make_phase as make_phase,
    read_materials as read_materials,
)
from ._memory import MemorySink as MemorySink
from ._mesh import read_mesh as read_mesh
from ._models import read_cell as read_cell, read_sbml as read_sbml
from ._paths import LoadPath as LoadPath, read_path as read_path
from ._phases import phases as phases
from ._problem import Material as Material, Problem as Problem, read_problem as read_problem
from ._pvd import Pvd as Pvd
from ._store import is_hdf5 as is_hdf5, read_store as read_store, sink_for as sink_for
from ._summary import versions as versions, write_summary as write_summary
from ._vti import read_vti as read_vti, write_vti as write_vti
from ._vtu import write_mesh as write_mesh
from ._zarr import ZarrSink as ZarrSink
