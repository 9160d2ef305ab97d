/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a decimal number with at most nine digits behind the point is read as an integer and a
 * power of ten, then multiplied by its unit: exact, and without the locale and the rounding of floating
 * point.
 */
#include "cli/values.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define FRACTION_DIGITS 9
#define DURATION_MAX_MS UINT64_C(946080000000) /* 30 years of 365 days */

struct unit {
    const char *name;
    uint64_t factor;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "12.5" → 125 and a divisor of 10. Moves *text behind the number. */
static bool scan_decimal(const char **text, uint64_t *number, uint64_t *divisor)
{
    const char *p = *text;
    uint64_t n = 0, d = 1;
    int fraction = -1; /* digits behind the point; -1: no point yet */
    for (; is_digit(*p) || (*p == '.' && fraction < 0); p++) {
        if (*p == '.') {
            fraction = 0;
            continue;
        }
        if (fraction >= FRACTION_DIGITS || n > (UINT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
        if (fraction >= 0) {
            fraction++;
            d *= 10;
        }
    }
    if (!is_digit(**text) || fraction == 0)
        return false;
    *text = p;
    *number = n;
    *divisor = d;
    return true;
}

/* The amount in the smallest unit, which must be a whole number above 0. */
static bool parse_amount(const char *text, const struct unit *units, uint64_t *out)
{
    uint64_t number, divisor;
    if (!scan_decimal(&text, &number, &divisor))
        return false;
    for (const struct unit *u = units; u->name; u++) {
        uint64_t product;
        if (strcasecmp(text, u->name) != 0)
            continue;
        if (__builtin_mul_overflow(number, u->factor, &product) || product % divisor != 0)
            return false;
        *out = product / divisor;
        return *out > 0;
    }
    return false;
}

bool parse_duration(const char *text, uint64_t *ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
    };
    return parse_amount(text, units, ms) && *ms <= DURATION_MAX_MS;
}

bool parse_memory(const char *text, uint64_t *mib)
{
    static const struct unit units[] = {
        {"k", 1},        {"kib", 1},       {"m", 1 << 10},  {"mb", 1 << 10},  {"mib", 1 << 10},
        {"", 1 << 10},   {"g", 1 << 20},   {"gb", 1 << 20}, {"gib", 1 << 20}, {"t", 1 << 30},
        {"tb", 1 << 30}, {"tib", 1 << 30}, {NULL, 0},
    };
    uint64_t kib;
    if (!parse_amount(text, units, &kib) || kib % 1024 != 0)
        return false;
    *mib = kib / 1024;
    return true;
}

bool parse_thousandths(const char *text, uint64_t *thousandths)
{
    static const struct unit units[] = {{"", 1000}, {NULL, 0}};
    return parse_amount(text, units, thousandths);
}

bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (!is_digit(*text) || __builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*text - '0'), &n) || n > max)
            return false;
    }
    *out = n;
    return true;
}

/* Integers only: tenths are enough, and the result is the same in every locale. */
char *format_size(uint64_t bytes, char out[SIZE_TEXT_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    uint64_t rest = 0;
    for (; bytes >= 1024 && unit < 6; unit++) {
        rest = bytes % 1024;
        bytes /= 1024;
    }
    if (unit == 0)
        snprintf(out, SIZE_TEXT_MAX, "%" PRIu64 " B", bytes);
    else
        snprintf(out, SIZE_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " %s", bytes, rest * 10 / 1024, units[unit]);
    return out;
}

char *format_ago(int64_t then, int64_t now, char out[AGO_TEXT_MAX])
{
    static const struct {
        int64_t from, seconds; /* used from so many seconds on */
        const char *name;
    } units[] = {
        {2 * 365 * 86400, 365 * 86400, "year"},
        {60 * 86400, 30 * 86400, "month"},
        {14 * 86400, 7 * 86400, "week"},
        {48 * 3600, 86400, "day"},
        {2 * 3600, 3600, "hour"},
        {120, 60, "minute"},
        {1, 1, "second"},
    };
    int64_t age = now > then ? now - then : 0; /* a clock that was set back makes nothing younger than now */
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (age < units[i].from)
            continue;
        int64_t n = age / units[i].seconds;
        snprintf(out, AGO_TEXT_MAX, "%" PRId64 " %s%s ago", n, units[i].name, n == 1 ? "" : "s");
        return out;
    }
    snprintf(out, AGO_TEXT_MAX, "now");
    return out;
}
