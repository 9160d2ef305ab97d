/* SPDX-License-Identifier: Apache-2.0 */
/* A temporary place for tests: assets with the fake VMM, a runtime folder, a TMPDIR; removed afterwards. */
#ifndef CUBBY_TESTS_RUNTIME_PLACE_H
#define CUBBY_TESTS_RUNTIME_PLACE_H

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char root[32], assets[64], run[64], tmp[64], home[64];
};

static inline int place_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void place_remove_tree(const char *path)
{
    nftw(path, place_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Makes it and points the environment there. 0, or -1. */
static inline int place_make(struct place *p)
{
    snprintf(p->root, sizeof(p->root), "/tmp/cubby-test-XXXXXX");
    if (!mkdtemp(p->root))
        return -1;
    snprintf(p->assets, sizeof(p->assets), "%s/assets", p->root);
    snprintf(p->run, sizeof(p->run), "%s/run", p->root);
    snprintf(p->tmp, sizeof(p->tmp), "%s/tmp", p->root);
    if (mkdir(p->assets, 0700) < 0 || mkdir(p->run, 0700) < 0 || mkdir(p->tmp, 0700) < 0)
        return -1;
    setenv("XDG_RUNTIME_DIR", p->run, 1);
    setenv("TMPDIR", p->tmp, 1);
    snprintf(p->home, sizeof(p->home), "%s/home", p->root); /* cubby makes it when there is need */
    setenv("CUBBY_HOME", p->home, 1);
    setenv("CUBBY_ASSETS", p->assets, 1);
    return 0;
}

static inline void place_remove(struct place *p)
{
    place_remove_tree(p->root);
}

/* Entries of a folder but "." and ".."; -1 when there is no such folder. */
static inline int count_entries(const char *path)
{
    DIR *d = opendir(path);
    int n = d ? -2 : -1;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

/* Boxes' folders in the place; the KVM verdict's file does not count. */
static inline int count_boxes(const struct place *p)
{
    char base[128];
    int n = 0;
    snprintf(base, sizeof(base), "%s/cubby", p->run);
    DIR *d = opendir(base);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.' && strcmp(e->d_name, "kvm-probe") != 0;
    if (d)
        closedir(d);
    return n;
}

#endif
