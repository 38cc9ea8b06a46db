#!/usr/bin/env python3
"""Boots QEMU's Raspberry Pi 3 and watches the lamps' lines in its GPIO registers while the agent's doctor runs.

pi.py FOLDER ROOT: where pi.sh has put the image, and the packages' files with the kernel. Writes FOLDER/summary.json; fails if the lines did not do what
the doctor says that it did.
"""

import glob
import json
import pathlib
import re
import socket
import subprocess
import sys
import time

# BCM2837: function and level registers, as the processor sees them.
FUNCTIONS = 0x3F200000
LEVELS = 0x3F200034
# firmware-config/boards/raspberry-pi-4.toml
LINES = {"left": 17, "right": 27}
OUTPUT = 1
PATIENCE_S = 900
HALTED = "reboot: System halted"
APPEND = "console=ttyS1,115200 8250.nr_uarts=2 iomem=relaxed rdinit=/init panic=-1 quiet"


def start(folder, root):
    (kernel,) = glob.glob(f"{root}/boot/vmlinuz-*-arm64")
    (tree,) = glob.glob(f"{root}/usr/lib/linux-image-*-arm64/broadcom/bcm2837-rpi-3-b.dtb")
    monitor, console = folder / "monitor.sock", folder / "console.log"
    for old in (monitor, console):
        old.unlink(missing_ok=True)
    command = ["qemu-system-aarch64", "-M", "raspi3b", "-display", "none", "-no-reboot"]
    command += ["-kernel", kernel, "-dtb", tree, "-initrd", str(folder / "pi.cpio"), "-append", APPEND]
    command += ["-serial", "null", "-serial", f"file:{console}", "-qmp", f"unix:{monitor},server=on,wait=off"]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL), monitor, console


class Registers:
    """The machine's memory, read through QEMU's monitor."""

    def __init__(self, path, machine):
        connection = socket.socket(socket.AF_UNIX)
        while True:
            try:
                connection.connect(str(path))
                break
            except OSError:
                if machine.poll() is not None:
                    sys.exit("pi: QEMU ended before it listened")
                time.sleep(0.1)
        self.stream = connection.makefile("rw")
        self.ask("qmp_capabilities")

    def ask(self, order, **arguments):
        self.stream.write(json.dumps({"execute": order, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            line = self.stream.readline()
            if not line:
                sys.exit("pi: QEMU is gone")
            said = json.loads(line)
            if "error" in said:
                sys.exit(f"pi: QEMU's monitor: {said['error']}")
            if "return" in said:
                return said["return"]

    def read(self, address, count):
        said = self.ask("human-monitor-command", **{"command-line": f"xp /{count}wx {address:#x}"})
        return [int(word, 16) for line in said.splitlines() for word in line.partition(":")[2].split()]

    def lamps(self):
        """Of each lamp's line: 1 or 0 where it is driven, None where nobody drives it."""
        functions, (levels,) = self.read(FUNCTIONS, 3), self.read(LEVELS, 1)
        is_driven = lambda line: functions[line // 10] >> line % 10 * 3 & 7 == OUTPUT
        return tuple(levels >> line & 1 if is_driven(line) else None for line in LINES.values())


def watch(machine, registers, console):
    """Every state of the lines that differs from the one before, until the machine is halted: QEMU's does not switch off."""
    seen, begun = [], time.monotonic()
    while HALTED not in console.read_text(errors="replace"):
        if machine.poll() is not None or time.monotonic() - begun > PATIENCE_S:
            sys.exit(f"pi: the machine was not done within {PATIENCE_S} s, or ended before; see {console}")
        state = registers.lamps()
        if not seen or seen[-1] != state:
            seen.append(state)
        time.sleep(0.005)
    return seen


def judge(states, findings):
    """What is wrong; nothing where the doctor lit one lamp after the other, and nobody drives a line high before or after."""
    wrong = []
    # Two lines are switched by two writes: what is between them is looked over.
    lit = [state for state in states if 1 in state]
    if lit != [(1, 0), (0, 1)]:
        wrong.append(f"lit lines, left and right: {lit}, expected the left one, then the right one")
    if (0, 0) not in states or 1 in states[0] + states[-1]:
        wrong.append("the lines were not dark before and after")
    lamps = {finding["device"]: finding["says"] for finding in findings if "lamp" in finding["device"]}
    if len(lamps) != 2 or not all("was switched on" in says for says in lamps.values()):
        wrong.append(f"the doctor says {lamps}")
    return wrong


def main():
    folder = pathlib.Path(sys.argv[1])
    begun = time.monotonic()
    machine, monitor, console = start(folder, pathlib.Path(sys.argv[2]))
    try:
        states = watch(machine, Registers(monitor, machine), console)
    finally:
        machine.kill()
        machine.wait()
    said = re.search(r"findings: (\{.*\})", console.read_text(errors="replace"))
    findings = json.loads(said[1])["findings"] if said else []
    wrong = judge(states, findings)
    seconds = round(time.monotonic() - begun)
    summary = {"lines_left_right": states, "findings": findings, "seconds": seconds, "wrong": wrong}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print("pi: lines left and right:", " ".join(str(state) for state in states))
    print("pi: summary:", folder / "summary.json")
    if wrong:
        sys.exit("pi: " + "\n  ".join(wrong))


main()
