/* SPDX-License-Identifier: Apache-2.0 */
/* Theory of operation: one table, so that a new reason cannot lack a name or an exit code. */
#include "vmm/end.h"
#include "base/own.h"

#include <stdio.h>
#include <string.h>

#define PANIC_WORDS "Kernel panic - not syncing: "

static const struct {
    const char *name;
    int exit_code;
} reasons[] = {
    [END_NONE] = {"running", END_EXIT_SETUP},
    [END_POWEROFF] = {"poweroff", 0},
    [END_REBOOT] = {"reboot", 0},
    [END_STOPPED] = {"stopped", 0},
    [END_OWNER_GONE] = {"owner-gone", 0},
    [END_PANIC] = {"panic", END_EXIT_PANIC},
    [END_INIT_FAILED] = {"init-failed", END_EXIT_INIT_FAILED},
    [END_TRIPLE_FAULT] = {"triple-fault", END_EXIT_TRIPLE_FAULT},
    [END_INTERNAL_ERROR] = {"internal-error", END_EXIT_INTERNAL_ERROR},
    [END_VCPU_ERROR] = {"vcpu-error", END_EXIT_VCPU_ERROR},
    [END_HOST_ERROR] = {"host-error", END_EXIT_HOST_ERROR},
};

_Static_assert(ARRAY_LEN(reasons) == END_REASONS, "a name for each reason");

const char *end_name(enum end_reason reason)
{
    return (unsigned)reason < END_REASONS ? reasons[reason].name : "unknown";
}

int end_exit_code(enum end_reason reason)
{
    return (unsigned)reason < END_REASONS ? reasons[reason].exit_code : END_EXIT_HOST_ERROR;
}

bool end_find_panic(const char *output, size_t len, char *words, size_t cap)
{
    const char *at = memmem(output, len, PANIC_WORDS, strlen(PANIC_WORDS));
    if (!at)
        return false;
    at += strlen(PANIC_WORDS);
    size_t left = len - (size_t)(at - output), n = 0;
    while (n < left && at[n] != '\r' && at[n] != '\n' && at[n] != '\0')
        n++;
    snprintf(words, cap, "%.*s", (int)n, at);
    return true;
}
