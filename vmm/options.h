/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of cubby-vmm. */
#ifndef CUBBY_VMM_OPTIONS_H
#define CUBBY_VMM_OPTIONS_H

#include "vmm/config.h"

#include <stdio.h>

enum action {
    ACTION_RUN, /* a VM */
    ACTION_PROBE,
    ACTION_HELP,
    ACTION_VERSION,
};

struct options {
    enum action action;
    bool json; /* --probe --json */
    struct vm_config config;
};

/*
 * Fills *o from the command line, and from the file of --config, which flags override. For ACTION_RUN the
 * configuration is checked (config_check()). 0, or a negative errno with a text that names the option. *o is
 * to be released with options_fini() in every case. Not for use in two threads at once (getopt).
 */
int options_parse(struct options *o, int argc, char **argv, struct err *e);
void options_fini(struct options *o);

void options_help(FILE *to);

#endif
