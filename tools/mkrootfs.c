/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkrootfs DIR IMAGE [SECONDS]: writes the tree below DIR into the ext4 file IMAGE, everything owned by root.
 * With SECONDS (since 1970) every object is dated so, and the same tree gives the same bytes. For the
 * Makefile and tests; `cubby run --rootfs DIR` does the same by itself.
 */
#include "oci/rootfs.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct err e = {0};
    struct rootfs_options opt = {.all_root = true};
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: mkrootfs DIR IMAGE [SECONDS]\n");
        return 2;
    }
    if (argc == 4) {
        char *end;
        opt.fixed_times = true;
        opt.date = strtoll(argv[3], &end, 10);
        if (*end || end == argv[3]) {
            fprintf(stderr, "mkrootfs: '%s' is not a number of seconds\n", argv[3]);
            return 2;
        }
    }
    if (rootfs_image_from_dir(argv[1], argv[2], &opt, &e) < 0) {
        fprintf(stderr, "mkrootfs: %s\n", e.text);
        return 1;
    }
    return 0;
}
