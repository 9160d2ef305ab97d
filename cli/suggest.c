/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the distance of Damerau and Levenshtein (insert, delete, replace, swap neighbours)
 * between what was typed and each known word. Close enough is a third of the word's length, so that "rnu"
 * finds "run" and "xyz" finds nothing.
 */
#include "cli/options.h"

#include <string.h>

#define WORD_MAX 32

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Both shorter than WORD_MAX. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            size_t replace = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1, replace);
            int swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && d[i - 2][j - 2] + 1 < d[i][j])
                d[i][j] = d[i - 2][j - 2] + 1;
        }
    }
    return d[n][m];
}

const char *suggest(const char *typed, const char *const *words)
{
    const char *best = NULL;
    size_t best_distance = WORD_MAX;
    if (strlen(typed) >= WORD_MAX)
        return NULL;
    for (; *words; words++) {
        size_t len = strlen(*words);
        size_t d = len < WORD_MAX ? distance(typed, *words) : WORD_MAX;
        if (d < best_distance && d <= (len + 2) / 3) {
            best = *words;
            best_distance = d;
        }
    }
    return best;
}
