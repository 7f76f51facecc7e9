#!/usr/bin/env python3
"""Makes `land.js` and the files in `fonts/`: run it again after a new edition of either source.

    npm install world-atlas @fontsource-variable/atkinson-hyperlegible-next @fontsource-variable/atkinson-hyperlegible-mono
    pip install fonttools brotli
    python3 make.py node_modules

Land is Natural Earth 1:110m (public domain), as TopoJSON in `world-atlas`. The fonts are Atkinson Hyperlegible Next and
Mono (SIL Open Font License, `fonts/OFL.txt`).
"""

import io
import json
import math
import pathlib
import sys

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

HERE = pathlib.Path(__file__).resolve().parent.parent

# Units of the map: 5 a degree, so that a whole number is 0.2 degrees, which is finer than the 1:110m outlines are.
UNITS = 5
NORTH, SOUTH = 73.0, -57.0

# What the pages write: Latin with accents (names of cities), and the signs of numbers and prose.
TEXT = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA0, 0x180)])) + "‐–—‘’“”•…′″→←↑↓×−≤≥≈½µμΩ²³⁻"
# Ids, paths, digests, addresses and texts of files are ASCII nearly always; the rest falls back.
CODE = "".join(map(chr, range(0x20, 0x7F))) + "  …–—‘’“”×·"


def miller(latitude):
    """Degrees of the Miller projection."""
    return math.degrees(1.25 * math.log(math.tan(math.pi / 4 + 0.4 * math.radians(latitude))))


def rings(topology):
    """The outlines of all land, in degrees."""
    scale, move = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for arc in topology["arcs"]:
        x = y = 0
        points = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            points.append((x * scale[0] + move[0], y * scale[1] + move[1]))
        arcs.append(points)
    for geometry in topology["objects"]["land"]["geometries"]:
        for polygon in geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]:
            for ring in polygon:
                outline = []
                for index in ring:
                    arc = arcs[index] if index >= 0 else arcs[~index][::-1]
                    outline += arc[1:] if outline else arc
                yield from unwrapped(outline)


def unwrapped(outline):
    """An outline that goes on beyond 180 degrees instead of jumping across the map, and again a turn away if it does."""
    turn, points = 0, []
    for lon, lat in outline:
        if points and lon + turn - points[-1][0] > 180:
            turn -= 360
        elif points and lon + turn - points[-1][0] < -180:
            turn += 360
        points.append((lon + turn, lat))
    yield points
    for shift in (-360, 360):
        moved = [(lon + shift, lat) for lon, lat in points]
        if any(-180 < lon < 180 for lon, _ in moved):
            yield moved


def land(source):
    """One path of relative steps in whole units, with what lies outside the map clamped to its edges."""
    path = []
    for ring in rings(json.loads(source.read_text())):
        # One degree beyond the edges, so that no coast is drawn along them.
        clamped = [(min(max(lon, -181), 181), min(max(lat, SOUTH - 1), NORTH + 1)) for lon, lat in ring]
        points = []
        for lon, lat in clamped:
            point = (round((lon + 180) * UNITS), round((miller(NORTH) - miller(lat)) * UNITS))
            if not points or points[-1] != point:
                # Three in one line are an edge of the map or a straight coast: the middle one says nothing.
                if len(points) > 1 and any(points[-1][axis] == points[-2][axis] == point[axis] for axis in (0, 1)):
                    points.pop()
                points.append(point)
        height = (miller(NORTH) - miller(SOUTH)) * UNITS
        if len(points) < 4 or all(y < 0 or y > height for _, y in points):
            continue
        x, y = points[0]
        steps = []
        for next_x, next_y in points[1:-1]:
            dx, dy = next_x - x, next_y - y
            steps.append(f"{dx}{'' if dy < 0 else ' '}{dy}")
            x, y = next_x, next_y
        joined = steps[0] + "".join(step if step[0] == "-" else " " + step for step in steps[1:])
        path.append(f"M{points[0][0]} {points[0][1]}l{joined}z")
    text = "".join(path)
    (HERE / "land.js").write_text(
        "// Land of the map: Natural Earth 1:110m (public domain), Miller projection, made by make/make.py.\n"
        "// 5 units a degree from 180 W and from 73 N.\n"
        f"export const LAND =\n  '{text}';\n"
    )


def font(source, target, text, weights):
    """A subset with one axis, its range cut to what the pages use."""
    made = TTFont(source)
    options = subset.Options()
    options.flavor = "woff2"
    options.layout_features = ["kern", "tnum", "zero", "mark", "mkmk", "ccmp", "locl"]
    options.hinting = False
    options.name_IDs = [0, 1, 2, 13, 14]
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=text)
    subsetter.subset(made)
    # Through bytes: what the subsetter leaves lazily loaded does not bear the cut.
    whole = io.BytesIO()
    made.flavor = None
    made.save(whole)
    made = TTFont(io.BytesIO(whole.getvalue()))
    instancer.instantiateVariableFont(made, {"wght": weights}, inplace=True)
    made.flavor = "woff2"
    made.save(HERE / "fonts" / target)


def main():
    modules = pathlib.Path(sys.argv[1])
    land(modules / "world-atlas" / "land-110m.json")
    fonts = modules / "@fontsource-variable"
    for name, text, weights in (("next", TEXT, (400, 700)), ("mono", CODE, 400)):
        package = f"atkinson-hyperlegible-{name}"
        source = fonts / package / "files" / f"{package}-latin-wght-normal.woff2"
        font(source, f"{package}.woff2", text, weights)


if __name__ == "__main__":
    main()
