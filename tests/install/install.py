#!/usr/bin/env python3
"""Installs the build into a scratch folder and builds a stranger's program against it, in every way we promise.

usage: install.py WAY BUILD SOURCE, with WAY one of tree, pkg-config, static, cmake, meson. Each program must run and
print the line that consumer.c ends with. Exits 77 where the tool is not installed.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

SAID = "hypool consumer: ok"


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def need(tool):
    if shutil.which(tool) is None:
        print(f"{tool} is not installed")
        sys.exit(77)


def install(meson, build, scratch):
    """The installed prefix and its library folder."""
    run([*meson, "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", scratch])
    options = {o["name"]: o["value"] for o in json.loads(run([*meson, "introspect", "--buildoptions", build]))}
    prefix = scratch + options["prefix"]
    return prefix, os.path.join(prefix, options["libdir"])


def says_ok(program, libdir):
    said = run([program], env=dict(os.environ, LD_LIBRARY_PATH=libdir))
    if SAID not in said:
        sys.exit(f"{program} said {said!r}")


def tree(prefix, libdir, _source, _scratch):
    """Everything that a package must hold is there."""
    wanted = [f"{libdir}/libhypool.so", f"{libdir}/libhypool.so.0", f"{libdir}/libhypool.a",
              f"{libdir}/libhypool-preload.so", f"{libdir}/pkgconfig/hypool.pc",
              f"{libdir}/cmake/hypool/hypoolConfig.cmake", f"{libdir}/cmake/hypool/hypoolConfigVersion.cmake",
              f"{prefix}/include/hypool/hypool.h", f"{prefix}/include/hypool/status.def"]
    missing = [path for path in wanted if not os.path.exists(path)]
    if missing:
        sys.exit("not installed: " + ", ".join(missing))
    dynamic = run(["readelf", "-d", f"{libdir}/libhypool.so"])
    for fact in ("Library soname: [libhypool.so.0]", "NODELETE"):
        if fact not in dynamic:
            sys.exit(f"libhypool.so lacks {fact}")


def pc_flags(prefix, libdir, *arguments):
    need("pkg-config")
    return run(["pkg-config", f"--define-variable=prefix={prefix}", *arguments, "hypool"],
               env=dict(os.environ, PKG_CONFIG_PATH=f"{libdir}/pkgconfig")).split()


def pkg_config(prefix, libdir, source, scratch):
    flags = pc_flags(prefix, libdir, "--cflags", "--libs")
    run(["cc", "-Wall", "-Wextra", "-Werror", f"{source}/consumer.c", "-o", f"{scratch}/consumer", *flags])
    says_ok(f"{scratch}/consumer", libdir)
    preload = pc_flags(prefix, libdir, "--variable=preload")[0]
    if not os.path.exists(preload):
        sys.exit(f"the variable preload of hypool.pc is {preload}, which is not there")


def static(prefix, libdir, source, scratch):
    cflags = pc_flags(prefix, libdir, "--cflags")
    run(["cc", *cflags, f"{source}/consumer.c", f"{libdir}/libhypool.a", "-o", f"{scratch}/consumer", "-pthread"])
    needed = run(["readelf", "-d", f"{scratch}/consumer"])
    if "libhypool" in needed:
        sys.exit("the statically linked consumer still needs libhypool.so")
    says_ok(f"{scratch}/consumer", "/nonexistent")


def cmake(prefix, libdir, source, scratch):
    need("cmake")
    shutil.copytree(source, f"{scratch}/project")
    run(["cmake", "-S", f"{scratch}/project", "-B", f"{scratch}/cmake", f"-DCMAKE_PREFIX_PATH={prefix}",
         f"-Dhypool_DIR={libdir}/cmake/hypool"])
    run(["cmake", "--build", f"{scratch}/cmake"])
    says_ok(f"{scratch}/cmake/consumer", libdir)
    says_ok(f"{scratch}/cmake/consumer-static", "/nonexistent")


def subproject(meson, source, scratch, root):
    os.makedirs(f"{scratch}/project/subprojects")
    os.symlink(root, f"{scratch}/project/subprojects/hypool")
    shutil.copy(f"{source}/consumer.c", f"{scratch}/project")
    shutil.copy(f"{source}/subproject.build", f"{scratch}/project/meson.build")
    run([*meson, "setup", f"{scratch}/meson", f"{scratch}/project"])
    run(["ninja", "-C", f"{scratch}/meson", "consumer"])  # and what it needs, which is the library alone
    says_ok(f"{scratch}/meson/consumer", f"{scratch}/meson/subprojects/hypool/lib")


def main(way, build, source, root, *meson):
    with tempfile.TemporaryDirectory() as scratch:
        if way == "meson":
            subproject(meson, source, scratch, root)
        else:
            prefix, libdir = install(meson, build, scratch)
            {"tree": tree, "pkg-config": pkg_config, "static": static, "cmake": cmake}[way](
                prefix, libdir, source, scratch)


if __name__ == "__main__":
    main(*sys.argv[1:])
