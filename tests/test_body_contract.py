"""The promise that every scale keeps (DESIGN, section 5): bodies, and cells that skip their solve."""

import pytest
from _contract import CHECKS, lab, run_without_x64
from _scales import BODIES

NAMES = [row.name for row in BODIES]


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", NAMES)
def test_the_promise_is_kept(name, check):
    check(lab(name))


def test_the_promise_is_kept_without_x64():
    run_without_x64(NAMES)
