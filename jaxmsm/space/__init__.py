"""Where unknowns live: the voxel grid, its shape functions and spectral symbols."""
