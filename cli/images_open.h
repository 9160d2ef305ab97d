/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands on images share: how the images are opened, and the signals that end a pull. */
#ifndef CUBBY_CLI_IMAGES_OPEN_H
#define CUBBY_CLI_IMAGES_OPEN_H

#include "cli/options.h"
#include "cubby.h"

/* The images of the default home; NULL with the failure told. `insecure` may be NULL. */
struct cubby_images *images_open(const struct word_list *insecure);

/* Tells a failure as `cubby COMMAND` does; the exit code: 128 + signal when that was it. */
int images_told(const struct cubby_error *e, int signo);

/* Blocks the signals that ask to end; a descriptor that becomes readable when one comes, or -1. */
int interrupts_open(void);
/* The signal that has come, taken from the descriptor; 0: none. Safe on -1. */
int interrupts_take(int fd);

#define PULL_POLICIES "missing|always|never" /* for OPT_CHOICE, in the order of enum cubby_pull_policy */

#endif
