/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the cubby command share. It knows libcubby by its public header alone. */
#ifndef CUBBY_CLI_CLI_H
#define CUBBY_CLI_CLI_H

#include "cli/options.h"
#include "cubby.h"

/* Exit codes, after the customs of shells and container engines; others are the command's own, or 128 + its
 * signal. */
#define EXIT_TIMED_OUT 124
#define EXIT_CUBBY     125 /* cubby itself failed */
#define EXIT_NOT_EXEC  126 /* the command cannot be executed */
#define EXIT_NOT_FOUND 127 /* the command was not found */
#define EXIT_SIGNAL    128

/* One line "cubby: …" to stderr. Returns `code`, so that a failure is told and returned in one statement. */
int complain(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The commands, in the order in which `cubby help` shows them. */
extern const struct verb verb_run, verb_pull, verb_images, verb_image, verb_doctor, verb_version, verb_help;
extern const struct verb *const verbs[];

/* Everything main() does; argv as main() has it. Returns the exit code. */
int cli_main(char **argv);

#endif
