"""An exported folder is all that a program needs, and several models fit in one program."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.models import make, node, normalise, rand
from loading import read_loading
from pconv import targets, toolchain
from pconv.cache import Cache
from pconv.codegen import Program, generate
from pconv.deploy import Exported, write_folder
from pconv.errors import BuildError
from pconv.lower import lower
from pconv.runtime import Engine

pytestmark = pytest.mark.cc
Maker = Callable[..., Program]
HERE = "linux-x86_64" if targets.native().arch == "x86_64" else "linux-aarch64"
X = np.random.default_rng(0).standard_normal((1, 64, 32), np.float32)
Y = 2 * X + np.arange(64 * 32, dtype=np.float32).reshape(64, 32)  # what the hand-written program computes


@pytest.fixture(scope="module")
def folder(make_program: Maker, session_cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The hand-written program, exported for this machine."""
    return write_folder(make_program(HERE), tmp_path_factory.mktemp("export") / "out", name="Tiny-Net")


@pytest.fixture(scope="module")
def android(make_program: Maker, session_cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return write_folder(make_program("android-arm64"), tmp_path_factory.mktemp("export") / "out")


@pytest.fixture
def compile_c(session_cache: Cache, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Compile and link C for a Linux target with the C library, as an app's own build would."""

    def run(name: str, *arguments: str | Path) -> Path:
        target = targets.get(name)
        compiler = toolchain.choose(None, target)
        flags = [*compiler.base_flags(target), "-Wextra", "-Werror", *map(str, arguments)]
        environment = toolchain.environment(session_cache.root / "zig", session_cache.root / "zig")
        command = [
            *compiler.command,
            *flags,
            "-o",
            str(tmp_path / "made"),
            *compiler.executable_flags(target),
        ]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return tmp_path / "made"

    yield run


def classify(command: list[str | Path], tmp_path: Path) -> list[tuple[int, float]]:
    """Run the example on X; return the classes and scores that it prints."""
    np.save(tmp_path / "x.npy", X)
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"class {i}{' or so' * (i < 100) * 60}\n" for i in range(2048)))
    done = subprocess.run([*command, tmp_path / "x.npy", labels, "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert all(row[1] == row[3] and row[2] == "class" for row in rows)
    return [(int(row[1]), float(row[0])) for row in rows]


def check_classes(found: list[tuple[int, float]]) -> None:
    best = np.argsort(-Y.ravel())[:5]
    assert [index for index, _ in found] == best.tolist()
    np.testing.assert_allclose([score for _, score in found], Y.ravel()[best], rtol=1e-4)


def test_files(folder: Exported) -> None:
    assert (folder.name, folder.platform) == ("tiny_net", HERE)
    written = {str(path) for path in folder.files}
    assert written == {
        str(path.relative_to(folder.folder)) for path in folder.folder.rglob("*") if path.is_file()
    }
    assert written >= {
        *(f"lib/{HERE}/libtiny_net{suffix}" for suffix in (".so", ".a")),
        *(f"include/{name}.h" for name in ("pconv", "tiny_net")),
        *(f"src/{name}" for name in ("model.c", "pool.c", "weights.bin", "names.h")),
        f"manifest/{targets.get(HERE).name}.json",
        *("kotlin/TinyNet.kt", "kotlin/pconv_jni.c", "swift/TinyNet.swift", "swift/module.modulemap"),
        *("README.md", "CMakeLists.txt", "example/classify.c", f"bin/{HERE}/pconv_bench"),
    }
    for path in folder.files:
        if path.suffix in (".md", ".txt", ".h", ".kt", ".swift", ".modulemap", ".c"):
            assert not re.search(r"@[A-Z_]+( [a-z ]+)?@", (folder.folder / path).read_text()), path
    assert (folder.folder / "example" / "classify.c").read_text().count("\n") <= 61


def test_shared_library_runs(folder: Exported) -> None:
    with Engine(folder.folder / "lib" / HERE / "libtiny_net.so", threads=2) as engine:
        np.testing.assert_array_equal(engine(X)[0], Y)


def test_bench_runs(folder: Exported) -> None:
    bench = folder.folder / "bin" / HERE / "pconv_bench"
    done = subprocess.run([bench, "--repeat", "2"], capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)["layers"]) == 3
    with open("/dev/full", "w") as full:
        done = subprocess.run([bench, "--repeat", "2"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "pconv_bench: error: stdout: cannot be written\n")


def test_example_compiles_from_the_folder_alone(
    folder: Exported, compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    alone = shutil.copytree(folder.folder, tmp_path / "alone")
    library = alone / "lib" / HERE / "libtiny_net.a"
    made = compile_c(HERE, f"-I{alone / 'include'}", alone / "example" / "classify.c", library)
    check_classes(classify([made], tmp_path))
    failed = subprocess.run([made, "/nope"], capture_output=True, text=True)
    assert (failed.returncode, failed.stderr) == (2, "/nope: not 2048 float32 numbers\n")


def test_a_models_name_ends_no_comment(
    make_program: Maker, compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    program = make_program(HERE)
    named = replace(program, manifest={**program.manifest, "model": {"name": "a*/b/*c"}})
    made = write_folder(named, tmp_path / "out").folder
    library = made / "lib" / HERE / "liba_b_c.a"
    compile_c(HERE, f"-I{made / 'include'}", made / "example" / "classify.c", library)
    kotlin = (made / "kotlin" / "ABC.kt").read_text()
    assert "a* /b/ *c, compiled" in kotlin and kotlin.count("/*") == kotlin.count("*/")


def cmake(folder: Path, made: Path, *options: str) -> Path:
    """Build what is in the folder; return where."""
    if not (shutil.which("cmake") and shutil.which("make") and shutil.which("gcc")):
        pytest.fail("this test needs cmake, make and gcc (Debian: packages of these names)")
    for command in (
        [
            "cmake",
            "-S",
            folder,
            "-B",
            made,
            "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_C_FLAGS=-Wall -Werror",
            *options,
        ],
        ["cmake", "--build", made],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CC": "gcc"})
        assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_cmake_builds_the_folder(folder: Exported, tmp_path: Path) -> None:
    alone = shutil.copytree(folder.folder, tmp_path / "alone")
    shutil.rmtree(alone / "lib")
    made = cmake(alone, tmp_path / "build")
    check_classes(classify([made / "tiny_net_classify"], tmp_path))
    with Engine(made / "libtiny_net.so", threads=2) as engine:
        np.testing.assert_array_equal(engine(X)[0], Y)
    bench = subprocess.run(
        [made / "pconv_bench", "--repeat", "1"], capture_output=True, text=True, check=True
    )
    assert json.loads(bench.stdout)["manifest"]["model"] == {"name": "affine"}


def test_cmake_as_for_android(make_program: Maker, tmp_path: Path) -> None:
    """What the NDK's toolchain file says, said to this machine's compiler; a stand-in of jni.h."""
    platform, abi = ("android-x86_64", "x86_64") if HERE == "linux-x86_64" else ("android-arm64", "arm64-v8a")
    out = write_folder(make_program(platform), tmp_path / "out", name="net").folder
    said = ["-DANDROID=1", f"-DCMAKE_C_FLAGS=-Wall -Werror -I{Path(__file__).parent}"]
    made = cmake(out, tmp_path / "build", *said, f"-DANDROID_ABI={abi}")
    for file in ("libnet.so", "libnet_jni.so", "pconv_bench", "net_classify"):
        listed = subprocess.run(["readelf", "-lW", made / file], capture_output=True, text=True, check=True)
        loaded = [line.split()[-1] for line in listed.stdout.splitlines() if line.split()[:1] == ["LOAD"]]
        assert loaded and set(loaded) == {"0x4000"}, file
    assert "Java_pconv_Net_nativeRun" in symbols(made / "libnet_jni.so", "-D", "--defined-only")
    command = ["cmake", "-S", out, "-B", tmp_path / "other", *said, "-DANDROID_ABI=armeabi-v7a"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CC": "gcc"})
    assert done.returncode and f"net was exported for {platform}, not for ABI armeabi-v7a." in done.stderr


def test_cmake_takes_the_examples_name_for_a_model(make_program: Maker, tmp_path: Path) -> None:
    out = write_folder(make_program(HERE), tmp_path / "out", name="classify").folder
    command = ["cmake", "-S", out, "-B", tmp_path / "build"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CC": "gcc"})
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_models_in_one_project(make_program: Maker, tmp_path: Path) -> None:
    """Each is a part of it; one has the name that the other's executable has."""
    for name in ("one", "pconv_bench"):
        write_folder(make_program(HERE), tmp_path / name, name=name)
    (tmp_path / "main.c").write_text("""#include "one.h"
#include "pconv_bench.h"
int main(void) { return one_input_count() == 1 && pconv_bench_input_count() == 1 ? 0 : 1; }
""")
    (tmp_path / "CMakeLists.txt").write_text("""
cmake_minimum_required(VERSION 3.13)
project(app C)
set(MODEL_SOURCES main.c)
add_subdirectory(one)
add_subdirectory(pconv_bench)
add_executable(app ${MODEL_SOURCES})
target_link_libraries(app one_static pconv_bench_static)
""")
    made = cmake(tmp_path, tmp_path / "build")
    subprocess.run([made / "app"], check=True)
    assert all((made / name / "pconv_bench").is_file() for name in ("one", "pconv_bench"))


def test_two_models_in_one_program(
    make_program: Maker, compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    made = [write_folder(make_program(HERE), tmp_path / name, name=name) for name in ("one", "two")]
    calls = "".join(
        f"""
    pconv_model *{name} = {name}_open(2, error, sizeof error);
    if (!{name} || {name}_run({name}, inputs, outputs, 1) || y[2047] != 2 * x[2047] + 2047) return 1;
    {name}_close({name});"""
        for name in ("one", "two")
    )
    (tmp_path / "main.c").write_text(
        f"""
#include "one.h"
#include "two.h"
static float x[2048], y[2048], sums[64];
int main(void) {{
    char error[100];
    const float *inputs[] = {{x}};
    float *outputs[] = {{y, sums}};
    x[2047] = 3;{calls}
    return 0;
}}
"""
    )
    places = [e.folder / "lib" / HERE / f"lib{e.name}.a" for e in made]
    includes = [f"-I{e.folder / 'include'}" for e in made]
    subprocess.run([compile_c(HERE, *includes, tmp_path / "main.c", *places)], check=True)


def symbols(archive: Path, *flags: str) -> set[str]:
    if not shutil.which("nm"):
        pytest.fail("this test needs nm (Debian: binutils)")
    done = subprocess.run(["nm", *flags, archive], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in done.stdout.splitlines() if line and not line.endswith(":")}


def test_static_names_are_the_models_own(folder: Exported, android: Exported) -> None:
    for made, platform in ((folder, HERE), (android, "android-arm64")):
        archive = made.folder / "lib" / platform / f"lib{made.name}.a"
        assert {
            s for s in symbols(archive, "-g", "--defined-only") if not s.startswith(made.name + "_")
        } == set()
    archive = android.folder / "lib" / "android-arm64" / "libaffine.a"
    wanted = {s for s in symbols(archive, "-u") if not s.startswith("affine_")}
    assert wanted <= {
        "memcpy",
        "memmove",
        "memset",
        "memcmp",
        "bcmp",
        "strlen",
        "strcmp",
        "strncmp",
        "strcspn",
    }


@pytest.mark.qemu
def test_android_static_library_in_a_program(
    android: Exported, compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    """The example, linked with the Android archive and some C library, as an app's own library would be."""
    qemu = shutil.which("qemu-aarch64") or pytest.fail("this test needs qemu-aarch64 (Debian: qemu-user)")
    base = android.folder
    library = base / "lib" / "android-arm64" / "libaffine.a"
    made = compile_c("linux-aarch64", f"-I{base / 'include'}", base / "example" / "classify.c", library)
    found = classify([qemu, "-L", "/usr/aarch64-linux-gnu", "-cpu", "cortex-a53", made], tmp_path)
    check_classes(found)


def test_android_library_needs_nothing(android: Exported) -> None:
    loading = read_loading(android.folder / "lib" / "android-arm64" / "libaffine.so")
    assert (loading.needed, loading.undefined, loading.page_bytes) == ((), (), 16384)
    assert read_loading(android.folder / "bin" / "android-arm64" / "pconv_bench").needed == ()


def test_jni_bridge_compiles(android: Exported, compile_c: Callable[..., Path]) -> None:
    bridge = android.folder / "kotlin" / "pconv_jni.c"
    includes = [f"-I{android.folder / 'include'}", f"-I{Path(__file__).parent}"]
    made = compile_c("linux-aarch64", "-c", *includes, bridge)
    functions = symbols(made, "-g", "--defined-only")
    assert functions == {f"Java_pconv_Affine_native{what}" for what in ("Open", "Close", "Run")}
    kotlin = (android.folder / "kotlin" / "Affine.kt").read_text()
    assert "package pconv" in kotlin and "class Affine(" in kotlin
    assert re.findall(r"external fun native(\w+)", kotlin) == ["Open", "Run", "Close"]


def test_many_outputs_reach_java_and_pconv_bench(compile_c: Callable[..., Path], tmp_path: Path) -> None:
    """20 outputs, as a detector's heads have them; arrays of Java are played by the test."""
    outputs = [f"y{i}" for i in range(20)]
    nodes = [node("Mul", f"x k{i}", output) for i, output in enumerate(outputs)]
    weights = {f"k{i}": np.full(1, i, np.float32) for i in range(20)}
    view = normalise(make(nodes, {"x": [1, 4, 3, 3]}, outputs, weights))
    made = write_folder(generate(lower(view, targets.get(HERE))), tmp_path / "out", name="heads").folder
    (tmp_path / "main.c").write_text("""
#include "pconv_jni.c"
struct object { struct object *items; float floats[36]; };
static jobject item(JNIEnv *env, jobjectArray all, jint i) { (void)env; return &all->items[i]; }
static jfloat *floats(JNIEnv *env, jfloatArray one, jboolean *copied) { (void)env, (void)copied; return one->floats; }
static void release(JNIEnv *env, jfloatArray one, jfloat *at, jint mode) { (void)env, (void)one, (void)at, (void)mode; }
static void drop(JNIEnv *env, jobject one) { (void)env, (void)one; }
static struct object in, outs[20], inputs = {.items = &in}, outputs = {.items = outs};
int main(void) {
    const struct functions played = {NULL, NULL, item, floats, release, drop};
    JNIEnv env = &played;
    jlong model = Java_pconv_Heads_nativeOpen(&env, NULL, 2);
    for (int i = 0; i < 36; i++) in.floats[i] = (float)i;
    if (Java_pconv_Heads_nativeRun(&env, NULL, model, &inputs, &outputs)) return 1;
    for (int y = 0; y < 20; y++)
        for (int i = 0; i < 36; i++)
            if (outs[y].floats[i] != (float)(y * i)) return 2;
    Java_pconv_Heads_nativeClose(&env, NULL, model);
    return 0;
}
""")
    subprocess.run([made / "bin" / HERE / "pconv_bench", "--repeat", "1"], check=True, capture_output=True)
    places = [f"-I{place}" for place in (made / "include", made / "kotlin", Path(__file__).parent)]
    library = made / "lib" / HERE / "libheads.a"
    subprocess.run([compile_c(HERE, *places, tmp_path / "main.c", library)], check=True)


def test_it_says_which_floats_are_integers(make_program: Maker, session_cache: Cache, tmp_path: Path) -> None:
    outputs = [
        {"name": "y", "shape": [1, 64, 32], "dtype": "float32", "values": "int64"},
        {"name": "sums", "shape": [1, 64], "dtype": "float32", "values": "float32"},
    ]
    made = write_folder(make_program(HERE, outputs=outputs), tmp_path / "out")
    readme = (made.folder / "README.md").read_text()
    assert "| output 0 | `y` | 1x64x32 | float32: whole numbers (int64) |" in readme
    assert "| output 1 | `sums` | 1x64 | float32 |" in readme


def test_advice_is_for_the_platform(folder: Exported, android: Exported) -> None:
    linux, phone = ((made.folder / "README.md").read_text() for made in (folder, android))
    assert "adb push" in phone and "Gradle" in phone and "SWIFT" not in phone and "-lpthread" not in phone
    assert f"lib/{HERE}/libtiny_net.a -lpthread -o ../classify" in linux
    assert f"    bin/{HERE}/pconv_bench" in linux and "adb push" not in linux and "SWIFT" not in linux


def test_ios_has_a_static_library_only(make_program: Maker, tmp_path: Path) -> None:
    made = write_folder(make_program("ios-arm64"), tmp_path / "out")
    assert (
        "SWIFT_INCLUDE_PATHS" in (readme := (made.folder / "README.md").read_text()) and "adb" not in readme
    )
    assert [str(p) for p in made.files if p.parts[0] in ("lib", "bin")] == ["lib/ios-arm64/libaffine.a"]
    swift = (made.folder / "swift" / "Affine.swift").read_text()
    assert "import CAffine" in swift and "affine_open(threads, &why, why.count)" in swift
    assert "inputElems: [Int] = [2048]" in swift and "outputElems: [Int] = [2048, 64]" in swift
    called = set(re.findall(r"\baffine_\w+(?=\()", swift))
    assert called == {"affine_open", "affine_run", "affine_close"}
    assert called <= set(
        re.findall(r"\baffine_\w+(?=\()", (made.folder / "include" / "affine.h").read_text())
    )
    assert 'header "../include/affine.h"' in (made.folder / "swift" / "module.modulemap").read_text()


def test_no_model_takes_anothers_functions_nor_the_systems(
    make_program: Maker, session_cache: Cache, compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    """The second is named as the first one's run time was; names of functions of libc get a word in front."""
    names = ("net", "net_pool", "run", "sem")
    made = [write_folder(make_program(HERE), tmp_path / name, name=name) for name in names]
    assert [one.name for one in made] == ["net", "net_pool", "run", "model_sem"]
    (tmp_path / "main.c").write_text(
        "#include <semaphore.h>\n"
        + "".join(f'#include "{one.name}.h"\n' for one in made)
        + "int main(void) {\n    char error[256];\n    pconv_model *models[4];\n"
        + "".join(
            f"    if (!(models[{i}] = {one.name}_open(2, error, sizeof error))) return 1;\n"
            for i, one in enumerate(made)
        )
        + "".join(f"    {one.name}_close(models[{i}]);\n" for i, one in enumerate(made))
        + "    return 0;\n}\n"
    )
    includes = [f"-I{one.folder / 'include'}" for one in made]
    libraries = [one.folder / "lib" / HERE / f"lib{one.name}.a" for one in made]
    subprocess.run([compile_c(HERE, *includes, tmp_path / "main.c", *libraries)], check=True)


def test_opencl_is_not_exported(make_program: Maker, tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=r"target opencl: it cannot be exported; allowed CPUs, e\.g\. android"
    ):
        write_folder(make_program("opencl"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_for_each_kind_of_cpu(tmp_path: Path) -> None:
    """Each is JSON by itself, and what is built from the folder says one of them."""
    x86 = {"cpu": "x86-64-v4,x86-64-v3"}
    several = targets.get_all(HERE, **x86 if HERE == "linux-x86_64" else {"dtype": "fp16,fp32"})
    view = normalise(
        make([node("Conv", "x w", "y", "conv")], {"x": [1, 4, 9, 9]}, ["y"], {"w": rand(8, 4, 3, 3)})
    )
    program = generate(*(lower(view, target) for target in several))
    made = write_folder(program, tmp_path / "out")
    files = {path.stem: json.loads(path.read_text()) for path in (made.folder / "manifest").iterdir()}
    assert files == {variant.target.name: variant.manifest for variant in program.variants}
    assert files.keys() == {target.name for target in several} and len(files) == 2
    bench = cmake(made.folder, tmp_path / "build") / "pconv_bench"
    for path in (bench, made.folder / "bin" / HERE / "pconv_bench"):
        done = subprocess.run([path, "--repeat", "1"], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["manifest"] in files.values()
