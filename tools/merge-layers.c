/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge-layers IMAGE (MEDIA-TYPE DIFF-ID FILE)…: merges layers, the bottom one first, into the ext4 file
 * IMAGE, and says how much that was, and what memory it took. A file whose name is a digest's hex part, as in
 * a store, is checked against it; DIFF-ID may be "-". For tests and measurements; `cubby pull` does the same
 * by itself.
 */
#include "base/io.h"
#include "base/own.h"
#include "oci/merge.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int merge_file(struct merge *m, unsigned index, char **layer, struct err *e)
{
    struct layer_info info = {.index = index, .media_type = layer[0]};
    const char *name = strrchr(layer[2], '/');
    digest_from_hex(&info.blob, name ? name + 1 : layer[2]);
    int ret = strcmp(layer[1], "-") == 0 ? 0 : digest_parse(&info.diff_id, layer[1], e);
    if (ret < 0)
        return ret;
    CLEANUP(fd_closep) int fd = open(layer[2], O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, "cannot open '%s'", layer[2]);
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
    for (int i = 0; i < count && ret == 0; i += 3)
        ret = merge_file(m, (unsigned)i / 3, layers + i, e);
    merge_get_stats(m, stats);
    if (ret < 0) {
        merge_abort(m);
        return ret;
    }
    return merge_finish(m, e);
}

/* The peak of this process alone, which getrusage(2) does not tell. */
static unsigned long peak_kib(void)
{
    CLEANUP(mem_freep) char *status = NULL;
    size_t len;
    if (read_file("/proc/self/status", 65536, &status, &len, NULL) < 0)
        return 0;
    const char *line = strstr(status, "VmHWM:");
    return line ? strtoul(line + 6, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    struct merge_stats stats;
    if (argc < 2 || argc % 3 != 2) {
        fprintf(stderr, "usage: merge-layers IMAGE (MEDIA-TYPE DIFF-ID FILE)...\n");
        return 2;
    }
    if (merge_files(argv[1], argv + 2, argc - 2, &stats, &e) < 0) {
        fprintf(stderr, "merge-layers: %s\npeak %lu KiB\n", e.text, peak_kib());
        return 1;
    }
    printf("%llu entries, %llu bytes, %llu inflated, peak %lu KiB\n", (unsigned long long)stats.entries,
           (unsigned long long)stats.bytes_in, (unsigned long long)stats.bytes, peak_kib());
    return 0;
}
