"""How stiff a material of intermediate density is taken to be, where a density is what is designed."""

from jaxtyping import Array, Float


def simp(density: Float[Array, "..."], *, power: float = 3.0, void: float = 0.0) -> Float[Array, "..."]:
    """The stiffness at a density over that of the solid, void + (1 - void) density^power: what is half full is worth little.

    Multiply the moduli of a law by it and hand the law to a cell as one of fields.

    Source: Bendsoe, Struct. Optim. 1 (1989) 193; with a void of its own Sigmund, Struct. Multidisc. Optim. 33 (2007) 401, eq. 2.

    Args:
        density: between 0 and 1.
        power: 1 is Voigt's bound.
        void: relative stiffness at density zero.
    """
    return void + (1 - void) * density**power


def ramp(density: Float[Array, "..."], *, slope: float = 5.0, void: float = 0.0) -> Float[Array, "..."]:
    """As `simp`, void + (1 - void) density / (1 + slope (1 - density)), whose slope does not vanish at density zero.

    Source: Stolpe and Svanberg, Struct. Multidisc. Optim. 22 (2001) 116.

    Args:
        density: between 0 and 1.
        slope: 0 is Voigt's bound.
        void: relative stiffness at density zero.
    """
    return void + (1 - void) * density / (1 + slope * (1 - density))
