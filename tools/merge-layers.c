/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge-layers IMAGE (MEDIA-TYPE FILE)…: merges layers, the bottom one first, into the ext4 file IMAGE, and
 * says how much that was. For tests and measurements; `cubby pull` does the same by itself.
 */
#include "base/own.h"
#include "oci/merge.h"

#include <fcntl.h>
#include <stdio.h>

static int merge_file(struct merge *m, unsigned index, const char *media_type, const char *path,
                      struct err *e)
{
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "cannot open '%s'", path);
    struct layer_info info = {.index = index, .media_type = media_type};
    struct byte_source source = byte_source_fd(&fd);
    return merge_layer(m, &info, &source, e);
}

static int merge_files(const char *image, char **layers, int count, struct merge_stats *stats, struct err *e)
{
    struct merge *m;
    struct merge_params params = {.uuid = "cubby merge test"};
    int ret = merge_create(&m, image, &params, e);
    if (ret < 0)
        return ret;
    for (int i = 0; i < count && ret == 0; i += 2)
        ret = merge_file(m, (unsigned)i / 2, layers[i], layers[i + 1], e);
    merge_get_stats(m, stats);
    if (ret < 0) {
        merge_abort(m);
        return ret;
    }
    return merge_finish(m, e);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct merge_stats stats;
    if (argc < 2 || argc % 2) {
        fprintf(stderr, "usage: merge-layers IMAGE (MEDIA-TYPE FILE)...\n");
        return 2;
    }
    if (merge_files(argv[1], argv + 2, argc - 2, &stats, &e) < 0) {
        fprintf(stderr, "merge-layers: %s\n", e.text);
        return 1;
    }
    printf("%llu entries, %llu bytes, %llu inflated\n", (unsigned long long)stats.entries,
           (unsigned long long)stats.bytes_in, (unsigned long long)stats.bytes);
    return 0;
}
