/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a command runs as: "name|uid[:group|gid]", looked up in the image's own passwd and group files by our
 * own parser (the C library's would load modules and configuration of ours, not of the image).
 *
 * As in Docker: a name must be in the files; a number need not be. With an explicit group the process has
 * that group and no supplementary ones; without one it has the group of the passwd entry (0 when there is
 * none) and every group whose member list names the user.
 */
#ifndef CUBBY_GUEST_INIT_USER_H
#define CUBBY_GUEST_INIT_USER_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

#define USER_GROUPS_MAX 256
#define USER_HOME_MAX   256

struct user_ids {
    uid_t uid;
    gid_t gid;
    gid_t groups[USER_GROUPS_MAX]; /* supplementary; does not repeat gid */
    size_t group_count;
    char home[USER_HOME_MAX]; /* of the passwd entry; "/" when there is none or it does not fit */
};

/* Pure look-up in the texts of the two files. 0; -ENOENT for an unknown name; -EINVAL for a malformed one. */
int user_lookup(const char *spec, const char *passwd, const char *group, struct user_ids *ids, struct err *e);

/* The same with the files read from `passwd_path` and `group_path`; a missing file is an empty one. Other
 * errors of reading them are returned as they are. */
int user_resolve(const char *spec, const char *passwd_path, const char *group_path, struct user_ids *ids,
                 struct err *e);

#endif
