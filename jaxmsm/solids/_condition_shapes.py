"""The shapes that the numbers of conditions may have."""

from ._conditions import AbstractCondition, BodyForce, Force, Moved, Pressure, Springs, Tied, Traction, said


def check_shape(condition: AbstractCondition, d: int) -> None:
    """Refuse numbers that would be spread over the axes in silence."""
    shapes: dict[type, tuple[str, tuple[tuple[int, ...], ...]]] = {
        Traction: ("value", ((d,),)),
        Force: ("value", ((d,),)),
        BodyForce: ("value", ((), (d,))),
        Pressure: ("value", ((),)),
        Springs: ("stiffness", ((), (d,))),
        Tied: ("jump", ((), (d,))),
    }
    if isinstance(condition, Moved):
        n, many = len(condition.axes), condition.value.shape[:1] if condition.value.ndim == 2 else ()
        shapes[Moved] = ("value", ((), (n,), (*many, n)))
    if type(condition) not in shapes:
        return
    name, known = shapes[type(condition)]
    given = said(getattr(condition, name))
    if not callable(given) and given.shape not in known:
        wanted = " or ".join(dict.fromkeys(str(shape) for shape in known))
        raise ValueError(f"Argument `{name}` of a `{type(condition).__name__}` must have shape {wanted}, but has {given.shape}.")
