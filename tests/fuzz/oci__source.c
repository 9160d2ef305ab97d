/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile tar as a local source: whatever is refused says why and names the source; whatever is accepted is
 * in the store, whole; and nothing is left in the making. The store is in memory, in a folder that goes at
 * the end.
 */
#include "oci/source.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One for all runs: opening a store takes longer than most inputs. */
static struct store *store;
static char folder[32];

static void check(bool ok)
{
    if (!ok)
        abort();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    return type == FTW_DP ? rmdir(path) : unlink(path);
}

static void remove_folder(void)
{
    store_close(store);
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void open_once(void)
{
    if (store)
        return;
    strcpy(folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/cubby-fuzz-XXXXXX" : "/tmp/cubby-fuzz-XXXXXX");
    check(mkdtemp(folder) && store_open(&store, folder, NULL) == 0);
    atexit(remove_folder);
}

static void see_image(void *context, const struct image_ref *r)
{
    struct manifest m;
    struct image_config c;
    (void)context;
    check(store_manifest_load(store, &r->manifest.digest, NULL, &m, NULL) == 0);
    check(store_config_load(store, &m, NULL, &c, NULL) == 0);
    for (size_t i = 0; i < m.nlayers; i++)
        check(store_blob_exists(store, &m.layer[i].digest, m.layer[i].size));
    image_config_fini(&c);
    manifest_fini(&m);
}

static void load(const char *path, enum source_kind kind, const struct oci_limits *limits)
{
    struct store_lease *l;
    struct err e = {0};
    struct source_options o = {.kind = kind, .limits = limits, .cancel_fd = -1, .loaded = see_image};
    check(store_lease_begin(store, &l, NULL) == 0);
    int ret = source_load(l, path, &o, &e);
    check(ret == 0 || (e.code == ret && strstr(e.text, path)));
    store_lease_end(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned runs;
    struct oci_limits limits;
    struct gc_result left;
    char path[64];
    open_once();
    oci_limits_init(&limits);
    limits.layer_bytes = limits.blob_bytes = 1 << 20;
    limits.image_bytes = 2 << 20;
    limits.manifest_bytes = limits.config_bytes = 65536;
    int fd = memfd_create("input", MFD_CLOEXEC);
    check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    load(path, SOURCE_IMAGES, &limits);
    load(path, SOURCE_ROOTFS, &limits);
    close(fd);
    if (++runs % 32 == 0) {
        check(store_gc(store, &(struct gc_options){.all = true}, &left, NULL) == 0);
        check(left.in_use == 0 && left.partials == 0);
    }
    return 0;
}
