"""Cells and networks from the files of others, beside the packages that read them and what stands here written by hand."""

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxmsm as msm
from jaxmsm import biology, io
from jaxmsm.solve import RungeKutta4, RushLarsenMidpoint, Steps, follow
from jaxmsm.space import Diffusion

myokit = pytest.importorskip("myokit", reason="reads CellML and Myokit files")
libsbml = pytest.importorskip("libsbml", reason="reads SBML files")

FILES = Path(myokit.__file__).parent / "tests" / "data" / "formats"
BEATS = json.loads((Path(__file__).parent / "oracles" / "myokit_beats.json").read_text())["beats"]


@pytest.fixture(scope="module")
def luo_rudy():
    return myokit.load_model("example")


@pytest.mark.parametrize("name", ["br-1977", "br-1977-dot", "corrias", "decker-2009", "lr-1991-exported-1"])
def test_right_hand_sides_of_files_are_those_of_the_package(name):
    model = io.read_cell(FILES / "cellml" / f"{name}.cellml")
    cell = biology.ImportedCell(model)
    unknowns = [unknown for unknown, _ in cell.equations.rates]
    order = [unknowns.index(v.qname()) for v in model.states()]
    rate = eqx.filter_jit(cell)
    for k in range(3):
        rng = np.random.default_rng(k)
        y = type(cell.rest())(*(x * (1 + 0.05 * k * rng.normal()) for x in cell.rest()))
        theirs = model.evaluate_derivatives(state=[float(y[i]) for i in order], inputs={"pace": 0})
        ours = np.array([float(x) for x in rate(0.0, y, None)])[order]
        # Rates in mV/ms and 1/ms; below the last bit of a number of one they are differences of what cancels.
        assert_allclose(ours, theirs, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("name", ["br-1977", "decker-2009"])
def test_beats_of_files_are_those_of_the_package(name):
    oracle = BEATS[name]
    cell, step = biology.ImportedCell(io.read_cell(FILES / "cellml" / f"{name}.cellml")), RushLarsenMidpoint()
    n = len(oracle["v"])

    def off(dt):
        advance = lambda t, y, dt: step(cell.driven(None), t, y, dt)
        every = round(oracle["every"] / dt)
        path = follow(advance, cell.rest(), Steps(0.0, dt, n * every), sample=lambda t, y: y[0], every=every)
        return float(np.abs(np.asarray(path.samples) - oracle["v"]).max())

    coarse, fine = off(0.02), off(0.01)
    assert fine < 0.02
    assert coarse / fine > 1.5


def test_an_imported_cell_is_the_one_written_by_hand(luo_rudy, tmp_path):
    from myokit.formats import exporter

    exporter("cellml").model(str(tmp_path / "lr.cellml"), luo_rudy)
    by_hand = biology.LuoRudy()
    for model in (luo_rudy, io.read_cell(tmp_path / "lr.cellml")):
        cell = biology.ImportedCell(model, scaled=["ik.IK"])
        assert set(cell.gates) == {"ina.m", "ina.h", "ina.j", "ica.d", "ica.f", "ik.x"}
        named = {name.split("_", 1)[1].lower(): x for name, x in cell.rest()._asdict().items()}
        y = biology.LuoRudyState(*(named[k.lower()] for k in ("v", "m", "h", "j", "d", "f", "x", "ca_i")))
        ours, theirs = by_hand(0.0, y, 1.0), cell(0.0, cell.rest(), 1.0)
        for value in ours:
            assert min(abs(value - x) for x in theirs) < 1e-12 * (1 + abs(value))
        assert_allclose(cell.value("ik.IK", 0.0, cell.rest()), luo_rudy.get("ik.IK").eval(), rtol=1e-12)


def test_mutations_of_imported_gates_are_those_of_the_cell_by_hand(luo_rudy):
    change = biology.Tuning(shift=-4.0, slow=1.7)
    by_hand = eqx.tree_at(lambda c: c.x, biology.LuoRudy(), change)
    cell = eqx.tree_at(lambda c: c.gates["ik.x"], biology.ImportedCell(luo_rudy), change)
    y = cell.rest()._replace(membrane_V=jnp.asarray(-20.0))
    own = biology.LuoRudy().rest()._replace(v=jnp.asarray(-20.0), x=y.ik_x)
    assert_allclose(cell(0.0, y, None).ik_x, by_hand(0.0, own, None).x, rtol=1e-12)


def test_numbers_of_a_file_are_leaves(luo_rudy):
    cell, step = biology.ImportedCell(luo_rudy, scaled=["ik.IK"]), RushLarsenMidpoint()

    def late(log, where):
        tuned = eqx.tree_at(where, cell, where(cell) * jnp.exp(log))
        current = biology.Pacing(start=1.0)
        advance = lambda t, y, dt: step(tuned.driven(current), t, y, dt)
        return follow(advance, tuned.rest(), Steps(0.0, 0.05, 4000)).end[0]

    for where in (lambda c: c.parameters["ica.gCa"], lambda c: c.scales["ik.IK"]):
        value = jax.jit(lambda log, where=where: late(log, where))
        slope = jax.jit(jax.jacfwd(lambda log, where=where: late(log, where)))(0.0)
        assert_allclose(slope, (value(1e-5) - value(-1e-5)) / 2e-5, rtol=1e-6)
        assert abs(slope) > 1


def test_factors_reach_the_rates_of_gates_and_names_are_told(luo_rudy):
    plain = biology.ImportedCell(luo_rudy)
    # The rate of j as a variable of its own, which depends on j: a straight line, whose factor must not be lost.
    model = luo_rudy.clone()
    rate = model.get("ina").add_variable("flow_of_j", rhs="0.3 - 0.7 * j")
    model.get("ina.j").set_rhs("ina.flow_of_j")
    cell = biology.ImportedCell(model, scaled=[rate.qname()])
    assert "ina.j" in cell.gates
    y = plain.rest()._replace(membrane_V=jnp.asarray(-50.0))
    assert_allclose(cell.scaled(**{"ina.flow_of_j": 0.25})(0.0, y, None).ina_j, 0.25 * (0.3 - 0.7 * y.ina_j), rtol=1e-12)
    assert_allclose(plain.scaled(**{"ica.gCa": 0.5}).parameters["ica.gCa"], 0.5 * plain.parameters["ica.gCa"])
    with pytest.raises(ValueError, match=r"no number `ica.gca`; .* Did you mean `ica.gCa`"):
        plain.scaled(**{"ica.gca": 0.5})
    with pytest.raises(ValueError, match=r"`ina.j` is an unknown"):
        biology.ImportedCell(luo_rudy, without=["ina.j"])


def test_a_tissue_of_imported_cells(luo_rudy):
    cell, step = biology.ImportedCell(luo_rudy), RushLarsenMidpoint()
    diffusion = Diffusion((24,), 0.1, 0.25)

    def wave(cell):
        tissue = biology.Tissue(cell, diffusion)
        where = jnp.where(jnp.arange(24) < 4, 1.0, 0.0)
        current = biology.Region(biology.Pacing(start=0.0), where)
        advance = lambda t, y, dt: step(tissue.driven(current), t, y, dt)
        return follow(advance, tissue.rest(), Steps(0.0, 0.02, 500)).end[0]

    ours, theirs = wave(biology.LuoRudy()), wave(cell)
    assert float(jnp.ptp(ours)) > 20
    # Myokit's example blurs the switch of two gates at -40 mV, where the paper jumps.
    assert_allclose(theirs, ours, rtol=1e-3)


def test_a_stimulus_in_the_file_beats_alone_and_makes_room_for_others():
    model = io.read_cell(FILES / "cellml" / "br-1977.cellml")
    own = biology.ImportedCell(model)
    with pytest.raises(ValueError, match="without="):
        own.terms(own.rest(), 0.0)
    cell = biology.ImportedCell(model, without=["stimulus_protocol.Istim"])
    assert_allclose(cell.terms(cell.rest(), 3.0)[0] - cell.terms(cell.rest(), 0.0)[0], 3.0)


def test_bad_cells_are_told(tmp_path, luo_rudy):
    with pytest.raises(io.InputError, match="There is no file"):
        io.read_cell(tmp_path / "none.cellml")
    broken = tmp_path / "broken.cellml"
    broken.write_text((FILES / "cellml" / "br-1977.cellml").read_text()[:3000])
    with pytest.raises(io.InputError, match=r"broken.cellml is no cell that can be used: Unable to parse XML"):
        io.read_cell(broken)
    (tmp_path / "broken.mmt").write_text("[[model]]\nx = 3 +\n")
    with pytest.raises(io.InputError, match="no cell that can be used"):
        io.read_cell(tmp_path / "broken.mmt")
    with pytest.raises(io.InputError, match="valid CellML identifier"):
        io.read_cell(FILES / "cellml" / "invalid-file.cellml")
    with pytest.raises(ValueError, match=r"no variable `ik.gKr`"):
        biology.ImportedCell(luo_rudy, scaled=["ik.gKr"])
    with pytest.raises(ValueError, match=r"`ib.Ib` is no unknown"):
        biology.ImportedCell(luo_rudy, potential="ib.Ib")
    with pytest.raises(ValueError, match=r"potential='...'"):
        biology.ImportedCell(io.read_cell(FILES.parent / "conditional.mmt"))


REPRESSILATOR = """<?xml version="1.0" encoding="UTF-8"?>
<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1">
<model id="repressilator">
<listOfFunctionDefinitions><functionDefinition id="hill"><math xmlns="http://www.w3.org/1998/Math/MathML"><lambda>
<bvar><ci>x</ci></bvar><bvar><ci>n</ci></bvar><apply><divide/><cn>1</cn><apply><plus/><cn>1</cn><apply><power/><ci>x</ci><ci>n</ci></apply></apply></apply>
</lambda></math></functionDefinition></listOfFunctionDefinitions>
<listOfCompartments><compartment id="cell" size="SIZE" constant="true"/></listOfCompartments>
<listOfSpecies>SPECIES</listOfSpecies>
<listOfParameters><parameter id="alpha" value="216" constant="true"/><parameter id="alpha0" value="0.2" constant="true"/>
<parameter id="n" value="2" constant="true"/><parameter id="beta" constant="false"/></listOfParameters>
<listOfRules><assignmentRule variable="beta"><math xmlns="http://www.w3.org/1998/Math/MathML"><cn>5</cn></math></assignmentRule></listOfRules>
<listOfReactions>REACTIONS</listOfReactions>
</model></sbml>"""


def repressilator(size=1.0):
    math = lambda text: libsbml.writeMathMLToString(libsbml.parseL3Formula(text)).split("\n", 1)[1]
    species, reactions = [], []

    def reaction(name, law, made=None, lost=None, local="", by=()):
        part = lambda s: f'<speciesReference species="{s}" stoichiometry="1" constant="true"/>'
        reactions.append(
            f'<reaction id="{name}" reversible="false" fast="false">'
            + (f"<listOfReactants>{part(lost)}</listOfReactants>" if lost else "")
            + (f"<listOfProducts>{part(made)}</listOfProducts>" if made else "")
            + "".join(f'<listOfModifiers><modifierSpeciesReference species="{s}"/></listOfModifiers>' for s in by)
            + f"<kineticLaw>{math(law)}{local}</kineticLaw></reaction>"
        )

    for k in range(3):
        for s, start in ((f"m{k}", 0.0), (f"p{k}", (5.0, 0.0, 15.0)[k])):
            species.append(
                f'<species id="{s}" compartment="cell" initialConcentration="{start}" hasOnlySubstanceUnits="false" '
                'boundaryCondition="false" constant="false"/>'
            )
        reaction(f"transcribed{k}", f"cell*(alpha0 + alpha*hill(p{(k - 1) % 3}, n))", made=f"m{k}", by=[f"p{(k - 1) % 3}"])
        decay = '<listOfLocalParameters><localParameter id="k" value="1"/></listOfLocalParameters>'
        reaction(f"decayed{k}", f"cell*k*m{k}", lost=f"m{k}", local=decay)
        reaction(f"translated{k}", f"cell*beta*m{k}", made=f"p{k}", by=[f"m{k}"])
        reaction(f"lost{k}", f"cell*beta*p{k}", lost=f"p{k}")
    text = REPRESSILATOR.replace("SIZE", str(size)).replace("SPECIES", "".join(species)).replace("REACTIONS", "".join(reactions))
    return text


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("sbml") / "repressilator.xml"
    path.write_text(repressilator())
    return biology.ImportedNetwork(io.read_sbml(path))


def test_a_network_from_sbml_is_the_one_written_by_hand(network):
    by_hand = biology.Repressilator(alpha=216.0, alpha_0=0.2, n=2.0, beta=5.0)
    y = biology.RepressilatorState(jnp.zeros(3), jnp.array([5.0, 0.0, 15.0]))
    step = RungeKutta4()
    run = lambda model, y: follow(lambda t, y, dt: step(model.driven(None), t, y, dt), y, Steps(0.0, 0.01, 2000)).end
    ours, theirs = run(by_hand, y), run(network, network.first)
    m = jnp.stack([theirs[network.names.index(f"m{k}")] for k in range(3)])
    p = jnp.stack([theirs[network.names.index(f"p{k}")] for k in range(3)])
    # Who represses whom turns around the ring one way or the other.
    assert_allclose(m, ours[0], rtol=1e-9)
    assert_allclose(p, ours[1], rtol=1e-9)


@pytest.mark.parametrize("name", ["model/00001-sbml-l3v2", "model/00004-sbml-l3v2", "00004-sbml-l3v2-modified", "HodgkinHuxley"])
@pytest.mark.filterwarnings("ignore:Unknown SBML namespace")
def test_rates_of_sbml_files_are_those_of_the_other_reader(name):
    from myokit.formats import importer

    path = FILES / "sbml" / f"{name}.xml"
    network = biology.ImportedNetwork(io.read_sbml(path))
    model = importer("sbml").model(str(path))
    theirs = dict(zip((v.name().removesuffix("_amount") for v in model.states()), model.evaluate_derivatives(), strict=True))
    ours = dict(zip(network.names, network(0.0, network.first, None), strict=True))
    assert set(ours) == set(theirs)
    for name, rate in ours.items():
        assert_allclose(rate, theirs[name], rtol=1e-12, atol=1e-15)


def test_parameters_of_a_network_are_leaves_and_loads(network):
    flow = msm.Flow(network, network.first, max_steps=4096)
    span = lambda alpha: msm.Span(0.0, 5.0, {"alpha": alpha})
    value = jax.jit(lambda alpha: flow(span(alpha)).value[0])
    slope = jax.jit(jax.grad(lambda alpha: flow(span(alpha)).value[0]))(200.0)
    assert_allclose(slope, (value(200.01) - value(199.99)) / 0.02, rtol=1e-4)
    with pytest.raises(ValueError, match="no parameter `alfa`"):
        network(0.0, network.first, {"alfa": 1.0})


def test_noise_of_a_network_in_numbers_of_molecules(tmp_path):
    (tmp_path / "big.xml").write_text(repressilator(size=2.0))
    network = biology.ImportedNetwork(io.read_sbml(tmp_path / "big.xml"))
    reactions = network.reactions(molecules=10.0)
    x = network.first * 20 + 3
    assert_allclose(reactions(0.0, x, None), 20 * network(0.0, x / 20, None), rtol=1e-12)
    assert reactions.change.shape == (6, 12)


def test_bad_networks_are_told(tmp_path):
    with pytest.raises(io.InputError, match="There is no file"):
        io.read_sbml(tmp_path / "none.xml")
    (tmp_path / "broken.xml").write_text(repressilator()[:2000])
    with pytest.raises(io.InputError, match=r"broken.xml, line \d+, is no SBML"):
        io.read_sbml(tmp_path / "broken.xml")

    def made(change):
        (tmp_path / "odd.xml").write_text(change(repressilator()))
        return biology.ImportedNetwork(io.read_sbml(tmp_path / "odd.xml"))

    with pytest.raises(ValueError, match="`alpha0` no first value"):
        made(lambda text: text.replace('id="alpha0" value="0.2"', 'id="alpha0"'))
    with pytest.raises(ValueError, match="`lost2` has no kinetic law"):
        made(lambda text: text[: text.rfind("<kineticLaw>")] + "</reaction></listOfReactions></model></sbml>")
    event = (
        '<listOfEvents><event useValuesFromTriggerTime="true"><trigger initialValue="true" persistent="true">'
        '<math xmlns="http://www.w3.org/1998/Math/MathML"><true/></math></trigger></event></listOfEvents></model>'
    )
    with pytest.raises(ValueError, match="`lost2` is marked fast"):
        made(lambda text: 'fast="true"'.join(text.rsplit('fast="false"', 1)))
    with pytest.raises(ValueError, match="conversion factors"):
        made(lambda text: text.replace('<model id="repressilator">', '<model id="repressilator" conversionFactor="n">'))
    with pytest.raises(ValueError, match="`p2` begins with -15"):
        made(lambda text: text.replace('initialConcentration="15.0"', 'initialConcentration="-15.0"'))
    with pytest.raises(ValueError, match="1 events"):
        made(lambda text: text.replace("</model>", event))
    with pytest.raises(ValueError, match="algebraic"):
        rule = '<algebraicRule><math xmlns="http://www.w3.org/1998/Math/MathML"><ci>n</ci></math></algebraicRule></listOfRules>'
        made(
            lambda text: text.replace("</listOfRules>", rule).replace('id="n" value="2" constant="true"', 'id="n" constant="false"')
        )
