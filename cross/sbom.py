#!/usr/bin/env python3
"""Writes what the shipped programs are made of: CycloneDX 1.5, one JSON file a program, the same for the same tree.

sbom.py FOLDER. From `cargo metadata` (crates, licences, graph), Cargo.lock (hashes) and the models' manifest. Build
scripts' and tests' own dependencies are not in it: they are not shipped.
"""
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = ["didar-agent", "didar-matcher"]
TARGET = "x86_64-unknown-linux-gnu"


def metadata():
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def shipped(program, packages, graph):
    """Every package that is linked into `program`, with what each of them links."""
    start = next(id for id, package in packages.items() if package["name"] == program)
    links, waiting = {}, [start]
    while waiting:
        id = waiting.pop()
        if id in links:
            continue
        linked = [dep["pkg"] for dep in graph[id]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
        links[id] = sorted(linked)
        waiting.extend(linked)
    return start, links


def component(package, checksums):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if package["license"]:
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((name, version)):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def models():
    """The models and the library that runs them, as the manifest names them."""
    manifest = tomllib.loads((ROOT / "models/manifest.toml").read_text())
    runtime = manifest["runtime"][TARGET.split("-")[0]]
    yield {
        "type": "library",
        "bom-ref": f"native:{runtime['library']}",
        "name": runtime["library"],
        "version": runtime["version"],
        "licenses": [{"expression": runtime["licence"]}],
        "hashes": [{"alg": "SHA-256", "content": runtime["sha256"]}],
    }
    for model in manifest["model"]:
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{model['file']}",
            "name": model["file"],
            "hashes": [{"alg": "SHA-256", "content": model["sha256"]}],
        }


def bom(program, packages, graph, checksums):
    start, links = shipped(program, packages, graph)
    refs = {id: component(packages[id], checksums)["bom-ref"] for id in links}
    parts = [component(packages[id], checksums) for id in links if id != start]
    parts = sorted(parts, key=lambda part: part["bom-ref"]) + list(models())
    main = component(packages[start], checksums) | {"type": "application"}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": main},
        "components": parts,
        "dependencies": sorted(
            ({"ref": refs[id], "dependsOn": [refs[to] for to in linked]} for id, linked in links.items()),
            key=lambda entry: entry["ref"],
        ),
    }
    # Named by its content: the same tree gives the same file.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return {"serialNumber": f"urn:uuid:{serial}"} | document


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    found = metadata()
    packages = {package["id"]: package for package in found["packages"]}
    graph = {node["id"]: node for node in found["resolve"]["nodes"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock}
    for program in PROGRAMS:
        document = bom(program, packages, graph, checksums)
        unlicensed = [part["name"] for part in document["components"] if part["type"] == "library" and "licenses" not in part]
        if unlicensed:
            sys.exit(f"sbom: no licence is known of {', '.join(unlicensed)}")
        file = folder / f"{program}.cdx.json"
        file.write_text(json.dumps(document, indent=1) + "\n")
        print(f"{file}: {len(document['components'])} components")


main()
