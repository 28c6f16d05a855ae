"""Operating systems as data: what a library for one is called, and what links it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Platform:
    """One operating system on one architecture.

    `zig_target` is what zig cc calls it; `cpu` is the plainest CPU that code for it runs on; `android_abi` is Android's
    name for the architecture.
    """

    name: str
    arch: str
    os: str
    zig_target: str
    cpu: str
    android_abi: str = ""


# zig's own Android targets call helpers of a library for atomics, whatever they are told.
PLATFORMS = (
    Platform("linux-x86_64", "x86_64", "linux", "x86_64-linux-gnu.2.17", "x86-64-v3"),
    Platform("linux-aarch64", "aarch64", "linux", "aarch64-linux-gnu.2.28", "aarch64"),
    Platform("android-arm64", "aarch64", "android", "aarch64-linux-none", "aarch64", "arm64-v8a"),
    Platform("android-x86_64", "x86_64", "android", "x86_64-linux-none", "x86-64-v3", "x86_64"),
    Platform("macos-arm64", "aarch64", "macos", "aarch64-macos", "aarch64"),
    Platform("macos-x86_64", "x86_64", "macos", "x86_64-macos", "x86-64-v3"),
    Platform("ios-arm64", "aarch64", "ios", "aarch64-ios", "aarch64"),
)


def platform_of(os: str, arch: str) -> Platform | None:
    """Return the platform of an operating system and architecture; None where there is none."""
    return next((p for p in PLATFORMS if (p.os, p.arch) == (os, arch)), None)
