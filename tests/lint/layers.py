"""Layers: a file includes only headers of lower layers or of its own folder; each header compiles
alone. The layer numbers are the Makefile's (LAYER_x := n); agent/app* and agent/main.c are above all.
"""

import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

import csource

TOP = 99
_INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^">]+)[">]', re.MULTILINE)


def layer_table():
    found = re.findall(r"^LAYER_(\w+)\s*:?=\s*(\d+)", csource.read("Makefile"), re.MULTILINE)
    return {folder: int(number) for folder, number in found}


def place(path):
    """(folder, True if it is a test) of a file; folder None: above all layers."""
    parts = path.split(os.sep)
    if parts[0] == "tests":
        return (parts[2], True) if parts[1] == "unit" and len(parts) > 3 else (None, True)
    inner = parts[1:] if parts[0] == "agent" else parts[2:]
    return (inner[0], False) if len(inner) > 1 else (None, False)


def is_beside(path, name):
    """A private header of the same folder, or one that the build makes from its assets in web/."""
    folder = os.path.join(csource.REPO, os.path.dirname(path))
    asset = os.path.join(folder, "web", re.sub(r"_(\w+)\.h$", r".\1", name))
    return os.path.exists(os.path.join(folder, name)) or os.path.exists(asset)


def check_includes(path, layers):
    folder, is_test = place(path)
    if folder and folder not in layers:
        return [f"{path}:1: folder '{folder}' has no layer in the Makefile"]
    own = layers.get(folder, TOP)
    findings = []
    text = csource.read(path)
    for match in _INCLUDE.finditer(text):
        where = f"{path}:{text.count(chr(10), 0, match.start()) + 1}"
        quote, name = match.groups()
        if name.endswith(".c") and not is_test:
            findings.append(f"{where}: includes a source file '{name}'")
        elif name.startswith("pgvigil/"):
            target = name.split("/")[1] if name.count("/") > 1 else None
            if target is None and folder is not None:
                findings.append(f"{where}: '{name}' is above all layers")
            elif target and target not in layers:
                findings.append(f"{where}: '{name}': no such folder")
            elif target and target != folder and layers[target] >= own:
                findings.append(
                    f"{where}: layer {own} ({folder}) includes '{name}' of layer {layers[target]}"
                )
            if quote != '"':
                findings.append(f"{where}: own header '{name}' in angle brackets")
        elif quote == '"' and not is_test:
            if os.path.dirname(name) or not is_beside(path, name):
                findings.append(f"{where}: '{name}' is not a header of its own folder")
    return findings


def pkg_config_flags():
    packages = re.search(r"^PACKAGES\s*:?=\s*(.*)$", csource.read("Makefile"), re.MULTILINE)[1]
    done = subprocess.run(
        ["pkg-config", "--cflags", *packages.split()], capture_output=True, text=True, check=False
    )
    return done.stdout.split()


def compile_alone(compiler, path, flags):
    command = [compiler, "-fsyntax-only", "-x", "c", "-std=gnu11", "-D_GNU_SOURCE", "-Wall"]
    command += ["-Wextra", "-Werror", "-Wstrict-prototypes", "-Iinclude", *flags]
    # Through an including text: as the main file a header's unused statics would be warned about.
    text = f'#include "{os.path.join(csource.REPO, path)}"\n'
    done = subprocess.run(
        command + ["-"], input=text, capture_output=True, text=True, cwd=csource.REPO, check=False
    )
    if done.returncode == 0:
        return []
    return [f"{path}:1: does not compile alone with {compiler}:\n{done.stderr.strip()}"]


def main():
    layers = layer_table()
    sources = csource.files("agent/**/*.[ch]", "include/**/*.h", "tests/unit/**/*.[ch]")
    findings = []
    for path in sources:
        findings += check_includes(path, layers)
    headers = [path for path in sources if path.endswith(".h") and not path.startswith("tests")]
    flags = pkg_config_flags()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(compile_alone, compiler, path, flags)
            for compiler in ("gcc", "clang")
            if shutil.which(compiler)
            for path in headers
        ]
        for job in jobs:
            findings += job.result()
    return csource.finish("layers", findings, len(sources) + len(jobs))


if __name__ == "__main__":
    sys.exit(main())
