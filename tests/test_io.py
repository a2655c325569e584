"""Files: images in every format, VTK by its own description, phases, materials, load paths, summaries, folders."""

import base64
import json
import math
import re
import struct
import sys
import warnings
import zlib

import h5py
import jax
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxmsm import Mixed, io, rollout, viz
from jaxmsm.bridges import Closed
from jaxmsm.solids import Elastic

RNG = np.random.default_rng(0)


def _gray(shape):
    return RNG.integers(0, 255, shape, dtype=np.uint8)


def _write(path, values):
    suffix = path.suffix
    if suffix == ".png":
        Image.fromarray(values).save(path)
    elif suffix == ".tif":
        tifffile.imwrite(path, values, photometric="minisblack")
    elif suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez(path, only=values)
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["deep/inside"] = values
    else:
        io.write_vti(path, {"phase": values})
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".npz", ".h5", ".vti"])
@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7), (4, 6, 4)])
def test_image_reads_back(tmp_path, suffix, shape):
    if suffix == ".png" and len(shape) == 3:
        pytest.skip("PNG is flat")
    values = _gray(shape)
    np.testing.assert_array_equal(io.read_image(_write(tmp_path / f"image{suffix}", values)), values)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_compressed_tiff_stack(tmp_path, compression):
    values = _gray((6, 5, 4))
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", compression=compression)
    np.testing.assert_array_equal(io.read_image(tmp_path / "a.tif"), values)


def test_colors_become_gray_and_it_is_said(tmp_path):
    values = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    Image.fromarray(values).save(tmp_path / "red.png")
    with pytest.warns(UserWarning, match=r"in color \(3 channels\) and was converted to gray"):
        gray = io.read_image(tmp_path / "red.png")
    # Luminance of pure red, ITU-R BT.709.
    np.testing.assert_allclose(gray, 0.2125 * 255)


def test_dataset_of_many_is_chosen(tmp_path):
    with h5py.File(tmp_path / "many.h5", "w") as file:
        file["a"], file["b/c"] = np.zeros((3, 3)), np.ones((3, 3))
    np.testing.assert_array_equal(io.read_image(f"{tmp_path}/many.h5:b/c"), np.ones((3, 3)))
    with pytest.raises(io.InputError, match="holds 2 arrays"):
        io.read_image(tmp_path / "many.h5")
    with pytest.raises(io.InputError, match="has no array `d`; it has `a`, `b/c`"):
        io.read_image(f"{tmp_path}/many.h5:d")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".npz", ".h5", ".vti"])
def test_truncated_image_is_refused(tmp_path, suffix):
    path = _write(tmp_path / f"image{suffix}", _gray((64, 64)))
    whole = path.read_bytes()
    for share in (0.9, 0.5, 0.0):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(io.InputError, match=r"truncated or not a|is truncated"):
            io.read_image(path)


@pytest.mark.parametrize(
    ("name", "make", "sentence"),
    [
        ("gone.png", lambda p: None, "gone.png does not exist"),
        ("folder.png", lambda p: p.mkdir(), "is a folder, not a file"),
        ("image.xyz", lambda p: p.write_bytes(b"x"), r"must end in one of .*, but ends in `.xyz`"),
        ("line.npy", lambda p: np.save(p, np.zeros(5)), r"must have 2 or 3 axes, but its shape is \(5,\)"),
        ("four.npy", lambda p: np.save(p, np.zeros((2, 2, 2, 2))), r"must have 2 or 3 axes, but its shape is \(2, 2, 2, 2\)"),
        ("nan.npy", lambda p: np.save(p, np.array([[1.0, np.nan], [2, 3]])), "1 of its 4 voxels are NaN or infinite"),
        ("complex.npy", lambda p: np.save(p, np.ones((2, 2), complex)), "must hold numbers, but its dtype is complex128"),
        ("text.npy", lambda p: p.write_text("hello"), "truncated or not a .npy file"),
        ("pickle.npy", lambda p: np.save(p, np.array([[{}]]), allow_pickle=True), "cannot be read"),
    ],
)
def test_bad_image_gets_a_sentence(tmp_path, name, make, sentence):
    make(tmp_path / name)
    with pytest.raises(io.InputError, match=sentence):
        io.read_image(tmp_path / name)


def test_axes_of_length_one_are_dropped(tmp_path):
    values = _gray((5, 6))
    np.save(tmp_path / "a.npy", values[None])
    np.testing.assert_array_equal(io.read_image(tmp_path / "a.npy"), values)


# VTK ImageData, against the description of the format.


def _decode(path):
    """Our file taken apart by hand: attributes of every array, and its bytes after the header of the blocks."""
    whole = path.read_bytes()
    head, _, rest = whole.partition(b'<AppendedData encoding="base64">\n_')
    assert b'header_type="UInt64"' in head and b'byte_order="LittleEndian"' in head
    out = {}
    for entry in re.findall(rb"<DataArray [^>]*>", head):
        found = dict(re.findall(r'(\w+)="([^"]*)"', entry.decode()))
        at = int(found["offset"])
        # The header in base64 by itself, then the blocks in one: three bytes are four characters.
        blocks, size, last = struct.unpack("<3Q", base64.b64decode(rest[at : at + 32]))
        length = 4 * math.ceil((24 + 8 * blocks) / 3)
        sizes = struct.unpack_from(f"<{blocks}Q", base64.b64decode(rest[at : at + length]), 24)
        packed = base64.b64decode(rest[at + length : at + length + 4 * math.ceil(sum(sizes) / 3)])
        at, data = 0, b""
        for k, count in enumerate(sizes):
            block = zlib.decompress(packed[at : at + count])
            assert len(block) == (last if k == blocks - 1 and last else size)
            data, at = data + block, at + count
        out[found["Name"]] = (found, data)
    return head.decode(), out


def test_vti_is_as_described(tmp_path):
    nx, ny, nz = 2, 3, 4
    x, y, z = np.meshgrid(np.arange(nx), np.arange(ny), np.arange(nz), indexing="ij")
    scalar = (x + 10 * y + 100 * z).astype(np.int32)
    vector = np.stack([scalar, scalar + 0.25, scalar + 0.5])
    tensor = np.arange(9.0).reshape(3, 3, 1, 1, 1) + 10 * scalar
    io.write_vti(tmp_path / "f.vti", {"s": scalar, "v": vector, "t": tensor}, spacing=(0.5, 1.0, 2.0), origin=(1, 2, 3))
    head, arrays = _decode(tmp_path / "f.vti")
    assert 'WholeExtent="0 2 0 3 0 4"' in head
    assert 'Spacing="0.5 1.0 2.0"' in head
    assert 'Origin="1.0 2.0 3.0"' in head
    assert head.index("<CellData>") < head.index("<DataArray") < head.index("</CellData>")
    found, data = arrays["s"]
    assert (found["type"], found.get("NumberOfComponents", "1")) == ("Int32", "1")
    # x runs fastest, then y, then z.
    expected = [i + 10 * j + 100 * k for k in range(nz) for j in range(ny) for i in range(nx)]
    assert list(struct.unpack(f"<{nx * ny * nz}i", data)) == expected
    found, data = arrays["v"]
    assert (found["type"], found["NumberOfComponents"]) == ("Float64", "3")
    assert list(struct.unpack_from("<6d", data)) == [0.0, 0.25, 0.5, 1.0, 1.25, 1.5]
    found, data = arrays["t"]
    assert found["NumberOfComponents"] == "9"
    assert list(struct.unpack_from("<18d", data)) == [*range(9), *range(10, 19)]


def test_vti_reads_back(tmp_path):
    fields = {"s": _gray((3, 4, 5)), "v": RNG.random((3, 3, 4, 5)), "t": RNG.random((3, 3, 3, 4, 5)), '<&">': RNG.random((3, 4, 5))}
    io.write_vti(tmp_path / "f.vti", fields, spacing=(1, 2, 3))
    back, spacing = io.read_vti(tmp_path / "f.vti")
    assert spacing == (1.0, 2.0, 3.0)
    assert list(back) == list(fields)
    for name, value in fields.items():
        np.testing.assert_array_equal(back[name], value)


def test_vti_of_many_blocks_and_two_dimensions(tmp_path):
    field, vector = RNG.random((300, 200)), RNG.random((2, 300, 200))
    io.write_vti(tmp_path / "f.vti", {"f": field, "v": vector})
    _, arrays = _decode(tmp_path / "f.vti")
    assert len(arrays["f"][1]) == 8 * 300 * 200
    back, spacing = io.read_vti(tmp_path / "f.vti")
    assert spacing == (1.0, 1.0)
    np.testing.assert_array_equal(back["f"], field)
    np.testing.assert_array_equal(back["v"], np.concatenate([vector, np.zeros((1, 300, 200))]))


_VALUES = np.arange(6, dtype=np.int32) * 7


def _foreign(attributes, array, after="", data="CellData", extent="0 2 0 3 0 1"):
    return (
        f'<?xml version="1.0"?><VTKFile type="ImageData" version="0.1" {attributes}><ImageData WholeExtent="{extent}" '
        f'Origin="0 0 0" Spacing="1 2 3"><Piece Extent="{extent}"><{data}>{array}</{data}></Piece></ImageData>{after}</VTKFile>'
    ).encode()


def _array(form, text="", more=""):
    return f'<DataArray type="Int32" Name="a" format="{form}" {more}>{text}</DataArray>'


def _coded(*parts):
    return "".join(base64.b64encode(part).decode() for part in parts)


def _packed(header):
    packed = zlib.compress(_VALUES.astype("<i4").tobytes())
    return struct.pack(f"<4{header}", 1, 24, 0, len(packed)), packed


_FOREIGN = {
    "ascii": _foreign("", _array("ascii", " ".join(map(str, _VALUES)))),
    "base64": _foreign('byte_order="LittleEndian"', _array("binary", _coded(struct.pack("<I", 24) + _VALUES.tobytes()))),
    "big endian": _foreign(
        'byte_order="BigEndian" header_type="UInt64"',
        _array("binary", _coded(struct.pack(">Q", 24) + _VALUES.astype(">i4").tobytes())),
    ),
    "compressed": _foreign('compressor="vtkZLibDataCompressor"', _array("binary", "\n  " + _coded(*_packed("I")) + "\n")),
    "appended": _foreign(
        'header_type="UInt64" compressor="vtkZLibDataCompressor"',
        _array("appended", more='offset="3"'),
        '<AppendedData encoding="base64">_xxx' + _coded(*_packed("Q")) + "</AppendedData>",
    ),
    "raw": _foreign("", _array("appended", more='offset="0"'), '<AppendedData encoding="raw">_@</AppendedData>').replace(
        b"@", struct.pack("<I", 24) + _VALUES.tobytes()
    ),
    "points": _foreign("", _array("ascii", " ".join(map(str, _VALUES))), data="PointData", extent="0 1 0 2 0 0"),
}


@pytest.mark.parametrize("form", _FOREIGN)
def test_vti_of_others(tmp_path, form):
    (tmp_path / "f.vti").write_bytes(_FOREIGN[form])
    fields, spacing = io.read_vti(tmp_path / "f.vti")
    np.testing.assert_array_equal(fields["a"], _VALUES.reshape(3, 2).T)
    assert spacing == (1.0, 2.0)
    assert io.image_spacing(tmp_path / "f.vti") == spacing


def test_vti_that_cannot_be_read(tmp_path):
    path = tmp_path / "f.vti"
    path.write_bytes(_FOREIGN["ascii"].replace(b"ImageData", b"PolyData"))
    with pytest.raises(io.InputError, match="must hold VTK ImageData in one piece"):
        io.read_vti(path)
    path.write_bytes(_FOREIGN["compressed"].replace(b"ZLib", b"LZMA"))
    with pytest.raises(io.InputError, match="uses `vtkLZMADataCompressor`"):
        io.read_vti(path)
    path.write_bytes(_FOREIGN["ascii"].replace(b"0 7 14", b"0 7"))
    with pytest.raises(io.InputError, match="`a` has 5 of 6 numbers"):
        io.read_vti(path)


# Phases.


def test_phases_by_value_label_and_threshold():
    image = np.array([[0, 7], [7, 3]])
    np.testing.assert_array_equal(io.phases(image), [[0, 2], [2, 1]])
    np.testing.assert_array_equal(io.phases(image, labels=[7, 0, 3]), [[1, 0], [0, 2]])
    np.testing.assert_array_equal(io.phases(image, labels=[(0, 3), 7]), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(io.phases(image, thresholds=[3, 5]), [[0, 2], [2, 1]])


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"labels": [0, 3, 7, 9]}, "Phase 3 is absent: the image has no voxel of label 9; it has 0, 3, 7"),
        ({"labels": [0, 3]}, "no phase has the label 7"),
        ({"labels": [0, 3, 7, 7]}, "7 is given twice"),
        ({"thresholds": [4, 5]}, "Phase 1 is absent: no voxel lies from 4 to 5"),
        ({"thresholds": [8]}, r"Phase 1 is absent: no voxel lies at or above the threshold 8 \(the image runs from 0 to 7\)"),
        ({"thresholds": [-1]}, "Phase 0 is absent: no voxel lies below the threshold -1"),
        ({"thresholds": [5, 4]}, "must be finite and ascending, but are 5, 4"),
        ({"thresholds": [math.nan]}, "must be finite and ascending"),
        ({"thresholds": [4], "labels": [0]}, "by labels or by thresholds, but both"),
    ],
)
def test_bad_phases_get_a_sentence(how, sentence):
    with pytest.raises(io.InputError, match=sentence):
        io.phases(np.array([[0, 7], [7, 3]]), **how)


def test_gray_levels_are_no_labels():
    with pytest.raises(io.InputError, match="holds 100 distinct values, gray levels rather than labels"):
        io.phases(np.arange(100).reshape(10, 10))


# Materials.


def test_materials_of_every_law(tmp_path):
    text = """
    thresholds = [1, 2.5, 3, 4, 5, 6, 7]
    [[phase]]
    law = "elastic"
    E = 0
    nu = 0.3
    [[phase]]
    law = "cubic"
    C11 = 3.0
    C12 = 1.0
    C44 = 2.0
    angle = 45
    axis = [0, 0, 1]
    [[phase]]
    law = "orthotropic"
    E1 = 1.0
    E2 = 2.0
    E3 = 3.0
    nu12 = 0.1
    nu13 = 0.1
    nu23 = 0.1
    G12 = 1.0
    G13 = 1.0
    G23 = 1.0
    [[phase]]
    law = "neo-hookean"
    mu = 1.0
    lam = -0.1
    [[phase]]
    law = "svk"
    K = 1.0
    G = 1.0
    eigenstrain = [0.01, 0.0]
    [[phase]]
    law = "j2"
    E = 1.0
    nu = 0.3
    sy = 0.1
    s_inf = 0.2
    delta = 10
    kinematic = 1.0
    recall = 3
    [[phase]]
    law = "finite-j2"
    K = 1.0
    G = 1.0
    sy = 0.1
    H = 0.5
    [[phase]]
    law = "conductivity"
    k = [1, 2, 3]
    """
    (tmp_path / "m.toml").write_text(text)
    found = io.read_materials(tmp_path / "m.toml")
    assert [p.law for p in found.phases] == list(io.LAWS)
    assert found.thresholds == (1.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert found.labels is None
    assert found.phases[0].numbers == {"E": 0.0, "nu": 0.3}
    assert found.phases[6].numbers == {"K": 1.0, "G": 1.0, "sy": 0.1, "H": 0.5}
    assert found.phases[7].numbers == {"k": (1.0, 2.0, 3.0)}


_GOOD = '[[phase]]\nname = "a"\nlabel = [0, 2]\nlaw = "elastic"\nE = 1.0\nnu = 0.3\n'


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("nu =", "poisson =", "for the law `elastic` the key `poisson` is not known; known are .*`E`, `nu`, `lam`, `mu`, `K`, `G`"),
        ("label =", "lable =", "Did you mean `label`?"),
        ('"elastic"', '"elastik"', "the law `elastik` is not known; known are `elastic`, .*Did you mean `elastic`?"),
        ('law = "elastic"', "", "the key `law` is missing"),
        ("E = 1.0", "E = nan", "phase 0: `E` must be finite, but is nan"),
        ("E = 1.0", "E = inf", "`E` must be finite"),
        ("E = 1.0", "E = -1.0", r"`E` must not be negative, but is -1 \(zero is a pore\)"),
        ("E = 1.0", 'E = "1"', "`E` must be a number, but is '1'"),
        ("E = 1.0", "E = true", "`E` must be a number, but is True"),
        ("nu = 0.3", "nu = 0.5", "`nu` must lie between -1 and 0.5, without both, but is 0.5"),
        ("nu = 0.3", "", "takes `E` and `nu`, or `lam` and `mu`, or `K` and `G`, but `E` was given"),
        ("nu = 0.3", "mu = 1.0", "but `E`, `mu` was given"),
        ("nu = 0.3", "nu = 0.3\nG = 1", "but `E`, `G`, `nu` was given"),
        ("[[phase]]", "[phase]", "must hold at least one `\\[\\[phase\\]\\]`"),
        ("[[phase]]", "thresholds = [1]\n[[phase]]", "must be a list of 0 numbers for 1 phases"),
        ("[[phase]]", "mesh = 1\n[[phase]]", "the key `mesh` is not known"),
        ("E = 1.0", "E = = 1.0", "are not TOML"),
        ("E = 1.0", "E = 1.", "are not TOML: .*; a number is written `30.0`"),
        ("nu = 0.3", 'nu = 0.3\n[[phase]]\nlaw = "elastic"\nE = 1\nnu = 0', "1 of 2 have none"),
        ('law = "elastic"\nE = 1.0', 'law = "j2"\nE = 1.0\nsy = 0', "`sy` must be positive, but is 0"),
        (
            'law = "elastic"\nE = 1.0',
            'law = "j2"\nE = 1.0\nsy = 1\ndelta = 3',
            "`delta` goes with `s_inf`, but there is no `s_inf`",
        ),
    ],
)
def test_bad_materials_get_a_sentence(tmp_path, old, new, sentence):
    assert old in _GOOD
    (tmp_path / "m.toml").write_text(_GOOD)
    assert io.read_materials(tmp_path / "m.toml").labels == ((0.0, 2.0),)
    (tmp_path / "m.toml").write_text(_GOOD.replace(old, new))
    with pytest.raises(io.InputError, match=sentence):
        io.read_materials(tmp_path / "m.toml")


def test_missing_materials(tmp_path):
    with pytest.raises(io.InputError, match="do not exist"):
        io.read_materials(tmp_path / "m.toml")


# Load paths.


def _path(tmp_path, text, d=2, **how):
    (tmp_path / "p.csv").write_text(text)
    return io.read_path(tmp_path / "p.csv", d, **how)


def test_path_of_deformation_gradients(tmp_path):
    path = _path(tmp_path, "F11, F12\n1.0, 0.0\n\n1.1, 0.2\n")
    np.testing.assert_array_equal(path.loads(), [[[1, 0], [0, 1]], [[1.1, 0.2], [0, 1]]])
    assert len(path) == 2


def test_path_of_strains_sets_both_halves(tmp_path):
    path = _path(tmp_path, "e11,e23\n0.1,0.2\n", 3)
    np.testing.assert_array_equal(path.loads(), [[[1.1, 0, 0], [0, 1, 0.2], [0, 0.2, 1]]])


def test_path_of_conduction(tmp_path):
    path = _path(tmp_path, "g2\n1\n2\n", scalar=True)
    np.testing.assert_array_equal(path.loads(), [[0, 1], [0, 2]])


def test_path_of_imposed_stress_drives_a_law(tmp_path):
    path = _path(tmp_path, "e11,P22,P12\n0.1,0.0,0.0\n0.2,0.0,0.3\n")
    assert path.mask.tolist() == [[True, False], [False, False]]
    loads = path.loads()
    assert isinstance(loads, Mixed)
    _, solution = rollout(Closed(Elastic.from_young(1.0, 0.25)), loads)
    # Plane strain under uniaxial stress: P11 = E / (1 - nu^2) e11; 1e-12 for the Newton solve of the free components.
    np.testing.assert_allclose(solution.value[:, 0, 0], np.array([0.1, 0.2]) / (1 - 0.25**2), rtol=1e-12)
    np.testing.assert_allclose(solution.value[:, 0, 1], [0, 0.3], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("strain\n0\n", "has a column `strain`, but columns are called"),
        ("F13\n0\n", r"has a column `F13` \(deformation gradient\), but the image has 2 dimensions"),
        ("F11,e22\n1,0\n", "as `F` or as `e`, but has columns of both"),
        ("F11,F11\n1,1\n", "must name every column once"),
        ("e12,e21\n0,0\n", r"imposes component 21 twice \(the second time as `e21`\)"),
        ("e11,P11\n0,0\n", "imposes component 11 twice"),
        ("F11\n1\nnan\n", "must be finite, but `F11` in line 3 is nan"),
        ("F11\ninf\n", "must be finite"),
        ("F11\nx\n", "must hold numbers, but `F11` in line 2 is 'x'"),
        ("F11,F22\n1\n", "must have 2 cells a line, but line 2 has 1"),
        ("F11\n", "must hold a header and at least one step"),
        ("", "must hold a header"),
        ("F11\n0.01\n-0.5\n", "must keep the volume positive, but line 3 does not"),
        ("g1\n1\n", "has a column `g1`"),
    ],
)
def test_bad_path_gets_a_sentence(tmp_path, text, sentence):
    with pytest.raises(io.InputError, match=sentence):
        _path(tmp_path, text)


def test_missing_path(tmp_path):
    with pytest.raises(io.InputError, match="does not exist"):
        io.read_path(tmp_path / "p.csv", 2)


# Summary and folders.


def test_summary(tmp_path):
    content = {"numbers": {"a": np.arange(3), "nan": math.nan, "x": np.float32(0.5)}, "codes": ["successful"], "path": tmp_path}
    io.write_summary(tmp_path, content)
    back = json.loads((tmp_path / "summary.json").read_text())
    assert back["numbers"] == {"a": [0, 1, 2], "nan": None, "x": 0.5}
    assert back["path"] == str(tmp_path)
    assert back["versions"]["jax"] == jax.__version__
    assert set(back["versions"]) >= {"jaxmsm", "jax", "numpy", "python", "device"}
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


def test_whole_folder_appears_at_the_end_or_not_at_all(tmp_path):
    with io.whole_folder(tmp_path / "a" / "b") as out:
        (out / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(KeyboardInterrupt), io.whole_folder(tmp_path / "c" / "d") as out:
        (out / "file").write_text("x")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_folder_that_is_taken(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(io.InputError, match="holds files: choose another"), io.whole_folder(tmp_path / "full"):
        pass
    with pytest.raises(io.InputError, match="is a file"), io.whole_folder(tmp_path / "full" / "file"):
        pass
    with pytest.raises(io.InputError, match="cannot be made"), io.whole_folder(tmp_path / "full" / "file" / "deeper"):
        pass
    with io.whole_folder(tmp_path / "empty") as out:
        (out / "file").write_text("y")
    assert (tmp_path / "empty" / "file").exists()
    assert (tmp_path / "full" / "file").read_text() == "x"


def test_live_folder_keeps_what_was_written(tmp_path):
    with pytest.raises(KeyboardInterrupt), io.live_folder(tmp_path / "run") as out:
        (out / "part").write_text("x")
        raise KeyboardInterrupt
    with io.live_folder(tmp_path / "run") as out:
        assert (out / "part").read_text() == "x"
    with pytest.raises(io.InputError), io.live_folder(tmp_path / "deep" / "other"):
        raise io.InputError("bad")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_fresh_folders_differ(tmp_path):
    first = io.fresh_folder("x", under=tmp_path)
    first.mkdir()
    with warnings.catch_warnings():
        second = io.fresh_folder("x", under=tmp_path)
    assert first != second
    assert not second.exists()


# Pictures.


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 4)])
def test_pictures_of_fields(tmp_path, shape):
    field = RNG.random(shape)
    field[0] = np.nan
    drawn = viz.stress_field(field, label="stress (MPa)", spacing=(1.0, 2.0, 3.0)[: len(shape)], path=tmp_path / "s.png")
    planes = [axes.images[0].get_array() for axes in drawn.axes[:-1]]
    expected = [field] if len(shape) == 2 else [field[:, :, 2], field[:, 4], field[3]]
    for seen, plane in zip(planes, expected, strict=True):
        np.testing.assert_array_equal(np.ma.filled(seen, np.nan), plane)
    # As a photograph is stored: the first axis runs down.
    assert drawn.axes[0].images[0].get_extent() == [0, 18, 6, 0]
    viz.phases(RNG.integers(0, 3, shape), names=["a", "b", "c"], path=tmp_path / "p.png")
    for name in ("s.png", "p.png"):
        assert np.ptp(np.asarray(Image.open(tmp_path / name))) > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.png", "s.png"]
    with pytest.raises(ValueError, match="Argument `field` must have 2 or 3 axes"):
        viz.stress_field(np.zeros(3))


def test_pictures_of_curves(tmp_path):
    drawn = viz.curve({"11": ([0, 1], [0, 2]), "12": ([0, 1], [0, 1])}, ylabel="stress (MPa)", path=tmp_path / "c.png")
    assert drawn.axes[0].get_ylabel() == "stress (MPa)"
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == ["11", "12"]
    drawn = viz.scatter_by_size([8, 8, 8, 16], {"C11": [1.0, 3.0, np.nan, 5.0]}, path=tmp_path / "s.png")
    assert [text.get_text() for text in drawn.axes[0].texts] == ["2", "1"]
    # Two names stand side by side; a bar of what is not negative ends at zero: 6.4 - 10.9 does not.
    both = viz.scatter_by_size([8, 8, 8, 16], {"a": [0.1, 0.1, 19.0, 5.0], "b": [1.0, 1.0, 1.0, 1.0]})
    a, b = both.axes[0].containers
    assert not set(a[0].get_xdata()) & set(b[0].get_xdata())
    assert min(float(y) for segment in a[2][0].get_segments() for _, y in segment) >= 0
    mean = drawn.axes[0].containers[0].lines[0]
    np.testing.assert_array_equal(mean.get_xydata(), [[8, 2], [16, 5]])


def test_picture_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxmsm\[files\]'"):
        viz.curve({"a": ([0], [0])})
