#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Boot latency beside QEMU microvm: same kernel, initrd, disk, memory and command line, in turn, in one session.

The clock runs from just before the VMM is executed until its guest's agent has connected out (what a user waits for).
For cubby the connection arrives at a Unix socket, for QEMU at a vsock of the host (vhost). Further rows say what
cubby's whole command costs beside the same command without a machine.

Times depend on the machine; in the lab only ratios and counts mean anything, and that is what the table ends with.
Writes build/bench/boot.json and build/bench/boot.svg.
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path("build")
KERNEL = BUILD / "vmlinux"
READY_PORT = 1024
DEADLINE = 60
CID = 77


# What libcubby gives the guest.
CMDLINE = "console=hvc0 quiet panic=-1 reboot=t cubby.root=/dev/vda"


def cubby_argv(folder, args, kernel):
    return [BUILD / "cubby-vmm", "--kernel", kernel, "--initrd", BUILD / "initrd.cpio", "--cmdline",
            CMDLINE, "--memory", str(args.memory), "--disk", f"{BUILD}/default.ext4,ro", "--vsock",
            f"{folder}/vsock", "--console", f"{folder}/console", "--timeline", f"{folder}/timeline"]


def qemu_argv(folder, args):
    """QEMU's documented way to the quickest start: no option ROMs, no legacy devices, PVH entry of vmlinux."""
    return ["qemu-system-x86_64", "-M",
            "microvm,acpi=off,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=off,auto-kernel-cmdline=on",
            "-accel", "kvm", "-cpu", "host", "-m", str(args.memory), "-smp", "1", "-nodefaults", "-no-user-config",
            "-nographic", "-no-reboot", "-kernel", KERNEL, "-initrd", BUILD / "initrd.cpio", "-append",
            CMDLINE, "-drive", f"id=root,file={BUILD}/default.ext4,format=raw,readonly=on,if=none",
            "-device", "virtio-blk-device,drive=root", "-chardev", f"file,id=con,path={folder}/console",
            "-device", "virtio-serial-device", "-device", "virtconsole,chardev=con",
            "-device", f"vhost-vsock-device,guest-cid={CID}"]


def boot_once(argv, listener, folder):
    """Seconds from exec to the agent's connection."""
    start = time.monotonic()
    child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=open(f"{folder}/stderr", "wb"))
    try:
        listener.settimeout(DEADLINE)
        connection, _ = listener.accept()
        took = time.monotonic() - start
        connection.close()
        return took
    except socket.timeout:
        tail = pathlib.Path(f"{folder}/stderr").read_text()[-2000:]
        console = pathlib.Path(f"{folder}/console")
        tail += console.read_text(errors="replace")[-2000:] if console.exists() else ""
        raise SystemExit(f"bench: {argv[0]} was not ready within {DEADLINE} s:\n{tail}") from None
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def boot_cubby(args, kernel=KERNEL):
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{folder}/vsock_{READY_PORT}")
            listener.listen(1)
            took = boot_once(cubby_argv(folder, args, kernel), listener, folder)
        timeline = pathlib.Path(f"{folder}/timeline")
        if kernel == KERNEL:
            args.timeline = json.loads(timeline.read_text()) if timeline.exists() else None
        return took


def boot_qemu(args):
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
            listener.bind((socket.VMADDR_CID_ANY, READY_PORT))
            listener.listen(1)
            return boot_once(qemu_argv(folder, args), listener, folder)


def run_command(argv):
    start = time.monotonic()
    subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - start


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def svg(rows, path):
    """A bar a row: median, with a mark at p99."""
    width, left, bar = 760, 330, 26
    longest = max(percentile(v, 0.99) for v in rows.values())
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{len(rows) * 40 + 20}" '
             'font-family="sans-serif" font-size="13">']
    for i, (name, values) in enumerate(rows.items()):
        y = 14 + i * 40
        scale = (width - left - 90) / longest
        median, p99 = statistics.median(values), percentile(values, 0.99)
        parts.append(f'<text x="{left - 8}" y="{y + 18}" text-anchor="end">{name}</text>'
                     f'<rect x="{left}" y="{y}" width="{median * scale:.1f}" height="{bar}" fill="#4878a8"/>'
                     f'<line x1="{left + p99 * scale:.1f}" x2="{left + p99 * scale:.1f}" y1="{y}" y2="{y + bar}" '
                     f'stroke="#222"/><text x="{left + p99 * scale + 6:.1f}" y="{y + 18}">'
                     f'{median / longest:.2f}</text>')
    path.write_text("\n".join(parts + ["</svg>"]) + "\n", encoding="utf-8")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-n", type=int, default=20, help="boots of each (default 20)")
    p.add_argument("--memory", type=int, default=256, help="MiB of the guest (default 256)")
    p.add_argument("--other-kernel", metavar="FILE", help="a kernel to compare ours with, under cubby-vmm")
    args = p.parse_args()
    args.timeline = None
    subprocess.run(["modprobe", "vhost_vsock"], check=False)

    rows = {
        "cubby-vmm: exec → agent ready": lambda: boot_cubby(args),
        "QEMU microvm: exec → agent ready": lambda: boot_qemu(args),
        "cubby run -- true": lambda: run_command([BUILD / "cubby", "run", "--memory", args.memory, "--", "true"]),
        "/bin/true without a machine": lambda: run_command(["/bin/true"]),
    }
    if args.other_kernel:
        rows["cubby-vmm with the other kernel"] = lambda: boot_cubby(args, args.other_kernel)
    times = {name: [] for name in rows}
    for name, measure in rows.items():
        measure()  # once to warm the page cache
    for i in range(args.n):
        for name, measure in rows.items():
            times[name].append(measure())
        print(f"\rround {i + 1} of {args.n}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)

    first, second = list(rows)[:2]
    ratios = [a / b for a, b in zip(times[first], times[second])]
    other = [a / b for a, b in zip(times[list(rows)[-1]], times[first])] if args.other_kernel else []
    print(f"{'boundary':40} {'median s':>9} {'p99 s':>9}   n={args.n}, {args.memory} MiB, 1 vCPU")
    for name, values in times.items():
        print(f"{name:40} {statistics.median(values):9.3f} {percentile(values, 0.99):9.3f}")
    print(f"\ncubby-vmm / QEMU microvm, pair by pair: median {statistics.median(ratios):.2f}, "
          f"best {min(ratios):.2f}, worst {max(ratios):.2f}")
    if other:
        print(f"the other kernel / ours, pair by pair: median {statistics.median(other):.2f}, "
              f"best {min(other):.2f}, worst {max(other):.2f}")
    result = {"n": args.n, "memory_mib": args.memory, "seconds": times, "ratio_cubby_qemu": ratios,
              "ratio_other_kernel": other,
              "timeline": args.timeline, "kernel": os.uname().release}
    (BUILD / "bench/boot.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    svg(times, BUILD / "bench/boot.svg")
    if args.timeline:
        print("\nlast timeline of cubby-vmm:")
        print(json.dumps(args.timeline, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
