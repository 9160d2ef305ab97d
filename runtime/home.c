/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the first variable that is set decides, as the XDG base directory specification says;
 * an empty one counts as not set, and a relative one is a mistake that is told, because it would mean another
 * place in every working folder.
 */
#include "runtime/home.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
    const char *variable, *below;
} places[] = {
    {"CUBBY_HOME", ""},
    {"XDG_DATA_HOME", "/cubby"},
    {"HOME", "/.local/share/cubby"},
};

int home_path(const char *name, char out[PATH_MAX], struct err *e)
{
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const char *value = getenv(places[i].variable);
        if (!value || !value[0])
            continue;
        if (value[0] != '/')
            return err_set(e, -EINVAL, "%s is '%s', which is not an absolute path", places[i].variable,
                           value);
        int n = snprintf(out, PATH_MAX, "%s%s%s%s", value, places[i].below, name[0] ? "/" : "", name);
        return n < PATH_MAX ? 0 : err_set(e, -ENAMETOOLONG, "%s is too long", places[i].variable);
    }
    return err_set(e, -EINVAL, "neither CUBBY_HOME nor HOME is set: cubby does not know where to keep files");
}

/* mkdir -p; what is there already keeps its mode. */
static int make_folders(char *path, struct err *e)
{
    for (char *at = path;;) {
        at = strchr(at + 1, '/');
        if (at)
            *at = '\0';
        int ret = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
        if (ret < 0 && !at) /* above it may be a folder that only others may write to, and that is there */
            return err_set(e, ret,
                           "cannot make the folder '%s': %s; set CUBBY_HOME to one that you may write to",
                           path, strerror(-ret));
        if (!at)
            return 0;
        *at = '/';
    }
}

int home_folder(const char *name, char out[PATH_MAX], struct err *e)
{
    int ret = home_path(name, out, e);
    return ret < 0 ? ret : make_folders(out, e);
}
