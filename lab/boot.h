/* SPDX-License-Identifier: Apache-2.0
 *
 * The first half of lab-agent: from the kernel's hand-over to a root file
 * system in which a Linux program finds what it expects.
 */
#ifndef CUBBY_LAB_BOOT_H
#define CUBBY_LAB_BOOT_H

/* Loads the drivers, puts the root together and moves into it. To be called
 * once, by PID 1, first of all. Does not return on failure: see fatal(). */
void boot_machine(void);

/* Mounts writable share number n at the path that it has on the host. */
void boot_mount_share(int n, const char *path);

/* Prints what, and why (errno), on the console, and ends PID 1: that is a
 * kernel panic, which ends QEMU (-no-reboot) and is reported by lab-host. */
_Noreturn void fatal(const char *what);

#endif
