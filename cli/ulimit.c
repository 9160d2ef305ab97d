/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a name is found in a table, the numbers behind it are read by hand, and the limit
 * takes the place of an earlier one of the same resource: so a script may have its own and leave the last
 * word to its caller. All is checked here, before anything is pulled or started.
 */
#include "cli/ulimit.h"

#include "cli/values.h"

#include <string.h>
#include <sys/resource.h>

#define NUMBER_MAX 32

static const struct {
    const char *name;
    int resource;
} names[] = {
    {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

_Static_assert(sizeof(names) / sizeof(names[0]) == CUBBY_RLIMITS_MAX, "every resource has a name");

/* The resource that the first `len` bytes of `text` name, or -1. */
static int find_resource(const char *text, size_t len)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i].name) == len && memcmp(names[i].name, text, len) == 0)
            return names[i].resource;
    }
    return -1;
}

static bool parse_limit(const char *text, size_t len, uint64_t *out)
{
    char word[NUMBER_MAX];
    if (len >= sizeof(word))
        return false;
    memcpy(word, text, len);
    word[len] = '\0';
    if (strcmp(word, "-1") == 0 || strcmp(word, "unlimited") == 0) {
        *out = CUBBY_RLIM_INFINITY;
        return true;
    }
    return parse_number(word, CUBBY_RLIM_INFINITY - 1, out);
}

static int unknown(const char *word, char why[USAGE_TEXT_MAX])
{
    size_t at = (size_t)snprintf(why, USAGE_TEXT_MAX, "--ulimit: no limit is called '%.*s'; there are",
                                 (int)(strcspn(word, "=") < 40 ? strcspn(word, "=") : 40), word);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && at < USAGE_TEXT_MAX; i++)
        at += (size_t)snprintf(why + at, USAGE_TEXT_MAX - at, "%s %s", i ? "," : "", names[i].name);
    return -1;
}

int ulimits_add(struct ulimits *u, const char *word, char why[USAGE_TEXT_MAX])
{
    const char *value = strchr(word, '=');
    struct cubby_rlimit l = {.resource = find_resource(word, strcspn(word, "="))};
    if (!value++) {
        snprintf(why, USAGE_TEXT_MAX, "--ulimit: '%.60s' is not of the form NAME=SOFT[:HARD]", word);
        return -1;
    }
    if (l.resource < 0)
        return unknown(word, why);
    size_t len = strcspn(value, ":");
    bool good = parse_limit(value, len, &l.soft);
    l.hard = l.soft;
    if (good && value[len])
        good = parse_limit(value + len + 1, strlen(value + len + 1), &l.hard);
    if (!good || l.soft > l.hard) {
        snprintf(why, USAGE_TEXT_MAX, "--ulimit: '%.60s': %s", word,
                 good ? "the soft limit is above the hard one"
                      : "a limit is a whole number without a unit, or 'unlimited'");
        return -1;
    }
    unsigned i = 0;
    while (i < u->count && u->limits[i].resource != l.resource)
        i++;
    u->limits[i] = l; /* in bounds: there are as many places as resources */
    u->count += i == u->count;
    return 0;
}
