/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the first member of each option struct is a size_t with its size in the caller's
 * header. A shorter struct is an older caller: the rest is zero, which always means the default. A longer one
 * is a newer caller, welcome as long as all that we do not know is zero.
 */
#include "runtime/options.h"

#include "runtime/errors.h"

#include <string.h>

int options_copy(void *to, size_t ours, size_t least, const void *from, struct cubby_error *error)
{
    memset(to, 0, ours);
    if (!from)
        return 0;
    size_t theirs;
    memcpy(&theirs, from, sizeof(theirs));
    if (theirs < least || theirs > 64 * 1024)
        return fail(
            error, CUBBY_EARGUMENT,
            "the size member of an options struct is %zu, at least %zu were expected; set it to sizeof",
            theirs, least);
    const unsigned char *bytes = from;
    for (size_t i = ours; i < theirs; i++) {
        if (bytes[i] != 0)
            return fail(error, CUBBY_EARGUMENT,
                        "an option is set that this version of libcubby (%s) does not know", cubby_version());
    }
    memcpy(to, from, theirs < ours ? theirs : ours);
    return 0;
}

int options_check_return(const void *to, struct cubby_error *error)
{
    size_t theirs;
    if (!to)
        return 0;
    memcpy(&theirs, to, sizeof(theirs));
    if (theirs < sizeof(theirs) || theirs > 64 * 1024)
        return fail(error, CUBBY_EARGUMENT, "the size member of a result is %zu; set it to sizeof", theirs);
    return 0;
}

int options_return(void *to, const void *from, size_t ours, struct cubby_error *error)
{
    size_t theirs;
    if (!to)
        return 0;
    int ret = options_check_return(to, error);
    if (ret < 0)
        return ret;
    memcpy(&theirs, to, sizeof(theirs));
    memset(to, 0, theirs);
    memcpy(to, from, theirs < ours ? theirs : ours);
    memcpy(to, &theirs, sizeof(theirs));
    return 0;
}
