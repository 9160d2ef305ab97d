/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the errors of the lower layers (negative errno and a sentence) to those of the public interface (a
 * CUBBY_E… code and a sentence), and text of strangers made safe to print.
 */
#ifndef CUBBY_RUNTIME_ERRORS_H
#define CUBBY_RUNTIME_ERRORS_H

#include "base/err.h"
#include "cubby.h"

#include <stdarg.h>
#include <stddef.h>

/* Fills *out (may be NULL) and returns `code`. The message becomes one printable line. */
int fail(struct cubby_error *out, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * The same from *e. Its errno decides the code where it has one meaning wherever it occurs (memory,
 * descriptors, disk space, a failure of oci/oci_error.h); else the code is `code`, which the caller knows
 * from what it tried.
 */
int fail_err(struct cubby_error *out, int code, const struct err *e);

/* Copies *from to *out (may be NULL) and returns its code. */
int fail_copy(struct cubby_error *out, const struct cubby_error *from);

/*
 * Makes `text` safe for a terminal and a log, in place: control characters, C1 ones and bytes that are not
 * UTF-8 become '?'. A line feed stays if `lines` is not 0, else it becomes a blank; a carriage return before
 * a line feed is dropped then. Returns the length.
 */
size_t text_make_printable(char *text, int lines);

#endif
