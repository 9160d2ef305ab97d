/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: layers are merged bottom first, so the thread needs only to know how many of the
 * lowest layers are complete: a number under a mutex, with a condition to wait for more. News for the other
 * side are numbers as well, beside an eventfd that wakes its loop. While another process merges the same
 * image, the store makes us wait, until that one is done or `stop_fd` is readable.
 */
#include "oci/pull_merge.h"

#include "base/own.h"
#include "oci/merge.h"
#include "oci/oci_error.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct merge_job {
    struct merge_job_params p;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows, but the last two */
    pthread_cond_t more;
    size_t fed;
    struct merge_job_news news;
    atomic_bool stop;
    int stop_fd;
    int ret; /* the thread's until it is joined */
    struct err err;
};

static void signal_fd(int fd)
{
    uint64_t one = 1;
    ssize_t ignored = write(fd, &one, sizeof(one)); /* full: it is readable already */
    (void)ignored;
}

static void tell(struct merge_job *j, const struct merge_job_news *news)
{
    pthread_mutex_lock(&j->lock);
    j->news = *news;
    pthread_mutex_unlock(&j->lock);
    signal_fd(j->p.notify_fd);
}

static bool stopped(void *ctx)
{
    return atomic_load(&((struct merge_job *)ctx)->stop);
}

/* Waits until layer `index` is in the store. */
static int wait_for_layer(struct merge_job *j, size_t index)
{
    pthread_mutex_lock(&j->lock);
    while (j->fed <= index && !atomic_load(&j->stop))
        pthread_cond_wait(&j->more, &j->lock);
    pthread_mutex_unlock(&j->lock);
    return atomic_load(&j->stop) ? err_set(&j->err, -ECANCELED, "cancelled") : 0;
}

static int add_layer(struct merge_job *j, struct merge *m, size_t index)
{
    const struct descriptor *layer = &j->p.manifest->layer[index];
    const struct layer_info info = {
        .index = (unsigned)index,
        .media_type = layer->media_type,
        .blob = layer->digest,
        .diff_id = j->p.config->diff_id[index],
    };
    CLEANUP(fd_closep) int fd = store_blob_open(j->p.store, &layer->digest, NULL, &j->err);
    if (fd < 0)
        return fd;
    struct byte_source source = byte_source_fd(&fd);
    return merge_layer(m, &info, &source, &j->err);
}

static int add_layers(struct merge_job *j, struct merge *m)
{
    struct merge_job_news news = {0};
    for (size_t i = 0; i < j->p.manifest->nlayers; i++) {
        int ret = wait_for_layer(j, i);
        if (ret < 0)
            return ret;
        news.begun = i + 1;
        tell(j, &news);
        ret = add_layer(j, m, i);
        if (ret < 0) {
            /* An image whose layers are not what it says fails in the same way: only the bytes can tell. */
            news.damaged = ret <= OCI_E_DIGEST && ret >= OCI_E_LIMIT &&
                           store_blob_remove_damaged(j->p.store, &j->p.manifest->layer[i].digest);
            tell(j, &news);
            return ret;
        }
        news.merged = i + 1;
        tell(j, &news);
    }
    news.finishing = true;
    tell(j, &news);
    return 0;
}

/* Half of the digest is the file system's UUID: the same image is the same file system everywhere. */
static void uuid_of(const struct digest *d, uint8_t uuid[16])
{
    const char *hex = digest_hex(d);
    for (int i = 0; i < 16; i++) {
        unsigned byte = 0;
        sscanf(hex + 2 * (ptrdiff_t)i, "%2x", &byte);
        uuid[i] = (uint8_t)byte;
    }
}

static int make_image(struct merge_job *j, const char *path)
{
    struct merge_params p = {.limits = j->p.limits, .cancelled = stopped, .ctx = j};
    struct merge *m;
    uuid_of(j->p.manifest_digest, p.uuid);
    int ret = merge_create(&m, path, &p, &j->err);
    if (ret < 0)
        return ret;
    ret = add_layers(j, m);
    if (ret < 0) {
        merge_abort(m);
        return ret;
    }
    return merge_finish(m, &j->err);
}

static void *work(void *arg)
{
    struct merge_job *j = arg;
    struct rootfs_writer *writer = NULL;
    int ret = store_rootfs_begin(j->p.lease, j->p.manifest_digest, j->stop_fd, &writer, &j->err);
    if (ret == 0) {
        ret = make_image(j, rootfs_writer_path(writer));
        if (ret < 0)
            rootfs_writer_abort(writer);
        else
            ret = rootfs_writer_commit(writer, j->stop_fd, &j->err);
        ret = ret < 0 ? ret : 1;
    } else if (ret == 1) {
        ret = 0; /* it is there */
    }
    j->ret = ret;
    struct merge_job_news news;
    merge_job_look(j, &news);
    news.over = true;
    tell(j, &news);
    return NULL;
}

static void job_free(struct merge_job *j)
{
    fd_closep(&j->stop_fd);
    pthread_cond_destroy(&j->more);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

/* Signals are the host program's: none is delivered to a thread that it does not know. */
static int start_thread(struct merge_job *j)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int ret = -pthread_create(&j->thread, NULL, work, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ret;
}

int merge_job_start(struct merge_job **out, const struct merge_job_params *p, struct err *e)
{
    struct merge_job *j = calloc(1, sizeof(*j));
    if (!j)
        return err_set(e, -ENOMEM, "cannot merge an image: no memory");
    j->p = *p;
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->more, NULL);
    j->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int ret = j->stop_fd < 0 ? -errno : start_thread(j);
    if (ret < 0) {
        job_free(j);
        return err_set(e, ret, "cannot start a thread to merge an image: %s", strerror(-ret));
    }
    *out = j;
    return 0;
}

void merge_job_feed(struct merge_job *j, size_t nlayers)
{
    pthread_mutex_lock(&j->lock);
    j->fed = nlayers;
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
}

void merge_job_stop(struct merge_job *j)
{
    atomic_store(&j->stop, true);
    signal_fd(j->stop_fd);
    /* Under the lock, so that the thread is not between its look at `stop` and its wait. */
    pthread_mutex_lock(&j->lock);
    pthread_cond_signal(&j->more);
    pthread_mutex_unlock(&j->lock);
}

void merge_job_look(struct merge_job *j, struct merge_job_news *news)
{
    pthread_mutex_lock(&j->lock);
    *news = j->news;
    pthread_mutex_unlock(&j->lock);
}

int merge_job_join(struct merge_job *j, struct err *e)
{
    pthread_join(j->thread, NULL);
    int ret = j->ret;
    if (ret < 0 && e)
        *e = j->err;
    job_free(j);
    return ret;
}
