/* SPDX-License-Identifier: Apache-2.0 */
/* Words of the command line that stand for amounts. */
#ifndef CUBBY_CLI_VALUES_H
#define CUBBY_CLI_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#define SIZE_TEXT_MAX 24
#define AGO_TEXT_MAX  40

/* "500ms", "1s", "1.5s", "2m", "1h", "90" (seconds), in milliseconds. False for anything else, for 0 and for
 * what exceeds 30 years. */
bool parse_duration(const char *text, uint64_t *ms);

/* "512", "512M", "512MiB" (all the same), "2G", "1.5GiB", "1T", in MiB; also "65536K" when it is a whole
 * number of them. Upper or lower case. False for anything else and for 0. */
bool parse_memory(const char *text, uint64_t *mib);

/* "812 B", "45.6 MiB", "1.2 GiB": at most 10 characters. Returns `out`. */
char *format_size(uint64_t bytes, char out[SIZE_TEXT_MAX]);

/* "2", "0.5", "1.25", in thousandths. False for anything else, for 0 and for more than three digits behind
 * the point that are not 0. */
bool parse_thousandths(const char *text, uint64_t *thousandths);

/* How long ago `then` was at `now`, both in seconds since 1970: "5 seconds ago", "3 weeks ago". Returns
 * `out`. */
char *format_ago(int64_t then, int64_t now, char out[AGO_TEXT_MAX]);

/* A decimal number up to `max` and nothing else. */
bool parse_number(const char *text, uint64_t max, uint64_t *out);

#endif
