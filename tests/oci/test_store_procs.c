/* SPDX-License-Identifier: Apache-2.0 */
/* One store, many processes and threads: each blob is written once, a kill leaves nothing half believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store_place.h"

#include "base/io.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PROCESSES 6
#define BLOBS     8
#define BLOB_SIZE 40000

/* Shared with all children. */
struct counters {
    atomic_int writers[BLOBS]; /* who completed blob i */
    atomic_int found[BLOBS];   /* who found it there */
    atomic_int failed;
};

static struct counters *shared_counters(void)
{
    struct counters *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(c, MAP_FAILED);
    return c;
}

/* The content of blob `i`, never the same for two numbers. */
static struct digest make_blob(char *buf, int i)
{
    struct digest d;
    memset(buf, i, BLOB_SIZE);
    memcpy(buf, &i, sizeof(i));
    if (digest_of(&d, buf, BLOB_SIZE, NULL))
        abort();
    return d;
}

/* Writes blob `i` in pieces with pauses, as a download would. 1 when it was there, 0 when written. */
static int download(struct store_lease *l, int i, unsigned pause_us)
{
    char buf[BLOB_SIZE];
    struct blob_writer *w;
    struct digest d = make_blob(buf, i);
    int ret = store_blob_begin(l, &d, BLOB_SIZE, -1, &w, NULL);
    if (ret != 0)
        return ret;
    for (uint64_t at = blob_writer_offset(w); at < BLOB_SIZE && ret == 0; at += BLOB_SIZE / 8) {
        size_t len = BLOB_SIZE - at < BLOB_SIZE / 8 ? BLOB_SIZE - at : BLOB_SIZE / 8;
        ret = blob_writer_write(w, buf + at, len, NULL);
        usleep(pause_us);
    }
    if (ret == 0)
        return blob_writer_commit(w, NULL);
    blob_writer_abort(w);
    return ret;
}

static void download_all(struct store *s, struct counters *c, unsigned pause_us)
{
    struct store_lease *l;
    if (store_lease_begin(s, &l, NULL)) {
        c->failed++;
        return;
    }
    for (int i = 0; i < BLOBS; i++) {
        int ret = download(l, i, pause_us);
        if (ret == 0)
            c->writers[i]++;
        else if (ret == 1)
            c->found[i]++;
        else
            c->failed++;
    }
    store_lease_end(l);
}

static void each_blob_was_written_once(const struct counters *c, int takers)
{
    assert_int_equal(c->failed, 0);
    for (int i = 0; i < BLOBS; i++) {
        assert_int_equal(c->writers[i], 1);
        assert_int_equal(c->found[i], takers - 1);
    }
}

/* Waits for a child and demands that it ended well. */
static void join(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void processes_download_each_blob_once(void **state)
{
    struct place *p = *state;
    struct counters *c = shared_counters();
    pid_t child[PROCESSES];
    char fresh[200];
    snprintf(fresh, sizeof(fresh), "%s/fresh/images", p->dir);
    for (int i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            struct store *s; /* a store that is not there yet: all make it at once */
            if (store_open(&s, fresh, NULL))
                _exit(1);
            download_all(s, c, 500);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        join(child[i]);
    each_blob_was_written_once(c, PROCESSES);
    munmap(c, sizeof(*c));
}

struct taker {
    struct store *store;
    struct counters *counters;
};

static void *run_taker(void *arg)
{
    struct taker *t = arg;
    download_all(t->store, t->counters, 500);
    return NULL;
}

static void threads_download_each_blob_once(void **state)
{
    struct place *p = *state;
    struct counters *c = shared_counters();
    struct taker t = {.store = p->store, .counters = c};
    pthread_t thread[4];
    for (size_t i = 0; i < ARRAY_LEN(thread); i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_taker, &t), 0);
    for (size_t i = 0; i < ARRAY_LEN(thread); i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    each_blob_was_written_once(c, ARRAY_LEN(thread));
    assert_int_equal(place_count(p, "locks"), 0);
    munmap(c, sizeof(*c));
}

static void who_waits_goes_on_where_the_killed_one_stopped(void **state)
{
    struct place *p = *state;
    char buf[BLOB_SIZE], byte;
    struct digest d = make_blob(buf, 1);
    struct blob_writer *w;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *s;
        struct store_lease *l;
        if (store_open(&s, p->path, NULL) || store_lease_begin(s, &l, NULL) ||
            store_blob_begin(l, &d, BLOB_SIZE, -1, &w, NULL) || blob_writer_write(w, buf, 1000, NULL))
            _exit(1);
        if (write(ready[1], "x", 1) == 1)
            usleep(100000);
        raise(SIGKILL);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    uint64_t start = now_ns();
    assert_int_equal(store_blob_begin(p->lease, &d, BLOB_SIZE, -1, &w, NULL), 0);
    assert_true(now_ns() - start > 50 * NSEC_PER_MSEC);
    assert_int_equal(blob_writer_offset(w), 1000);
    assert_int_equal(blob_writer_write(w, buf + 1000, BLOB_SIZE - 1000, NULL), 0);
    assert_int_equal(blob_writer_commit(w, NULL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ready[0]);
    close(ready[1]);
}

/* Everything that the store shows is what it claims to be. */
static void check_all(struct place *p)
{
    char command[300], name[128];
    snprintf(command, sizeof(command), "cd %s/blobs/sha256 && sha256sum -- * 2>/dev/null", p->path);
    FILE *f = popen(command, "r");
    char line[256];
    while (fgets(line, sizeof(line), f)) { /* "<sum>  <name>\n" */
        assert_int_equal(sscanf(line + DIGEST_HEX_LEN, "%127s", name), 1);
        assert_memory_equal(line, name, DIGEST_HEX_LEN);
    }
    pclose(f);
    struct image_list list;
    assert_int_equal(store_list(p->store, &list, NULL), 0);
    for (size_t i = 0; i < list.count; i++) {
        struct manifest m;
        struct image_config c;
        assert_int_equal(store_manifest_load(p->store, &list.item[i].ref.manifest.digest, NULL, &m, NULL), 0);
        assert_int_equal(store_config_load(p->store, &m, NULL, &c, NULL), 0);
        for (size_t k = 0; k < m.nlayers; k++)
            assert_true(store_blob_exists(p->store, &m.layer[k].digest, m.layer[k].size));
        assert_true(list.item[i].rootfs_size > 0);
        image_config_fini(&c);
        manifest_fini(&m);
    }
    image_list_fini(&list);
}

static int pull_one(struct store *s, int round, int i)
{
    struct store_lease *l;
    char name[64], layer[64];
    snprintf(name, sizeof(name), "example.org/i%d:%d", i % 4, round);
    snprintf(layer, sizeof(layer), "layer of round %d.%d", round, i);
    if (store_lease_begin(s, &l, NULL) || download(l, round * 1000 + i, 0) < 0)
        return -1;
    struct image_ref r = put_image(l, name, layer, 3);
    store_rootfs(l, &r.manifest.digest);
    int ret = store_ref_put(l, &r, NULL);
    image_ref_fini(&r);
    store_lease_end(l);
    return ret;
}

/* Pulls image after image, as fast as it can, until it is killed; tells each that is done. */
static void pull_for_ever(const struct place *p, int round, int done)
{
    struct store *s;
    if (store_open(&s, p->path, NULL))
        _exit(1);
    for (int i = 0;; i++) {
        if (pull_one(s, round, i) || write(done, "x", 1) != 1)
            _exit(1);
    }
}

/* How long a pull takes here and now, in microseconds. */
static unsigned time_of_pull(struct store *s)
{
    uint64_t start = now_ns();
    assert_int_equal(pull_one(s, 999, 0), 0);
    assert_int_equal(pull_one(s, 999, 1), 0);
    return (unsigned)((now_ns() - start) / 2000);
}

static void a_kill_at_any_moment_leaves_nothing_half_believed(void **state)
{
    struct place *p = *state;
    unsigned random = 12345, pull_us = time_of_pull(p->store);
    int done[2], complete = 0;
    char bytes[4096];
    assert_int_equal(pipe2(done, O_NONBLOCK), 0);
    for (int round = 0; round < 50; round++) {
        pid_t child = fork();
        if (child == 0)
            pull_for_ever(p, round, done[1]);
        random = random * 1103515245 + 12345;
        usleep((random >> 8) % (2 * pull_us) + 200);
        kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); /* it did not fail before */
        check_all(p);
        for (ssize_t n; (n = read(done[0], bytes, sizeof(bytes))) > 0;)
            complete += (int)n;
    }
    print_message("# 50 kills, %d pulls were complete, a pull took %u us\n", complete, pull_us);
    assert_true(complete > 0);
    /* What the killed ones left is garbage, and nothing but that. */
    struct image_list before, after;
    place_new_lease(p);
    assert_int_equal(store_list(p->store, &before, NULL), 0);
    assert_int_equal(store_gc(p->store, &(struct gc_options){0}, NULL, NULL), 0);
    assert_int_equal(place_count(p, "partial"), 0);
    assert_int_equal(place_count(p, "locks"), 0);
    assert_int_equal(place_count(p, "leases"), 1);
    check_all(p);
    assert_int_equal(store_list(p->store, &after, NULL), 0);
    assert_int_equal(after.count, before.count);
    assert_int_equal(place_count(p, "rootfs"), after.count);
    image_list_fini(&before);
    image_list_fini(&after);
    /* Without references nothing is left at all. */
    assert_int_equal(store_gc(p->store, &(struct gc_options){.all = true}, NULL, NULL), 0);
    assert_int_equal(place_count(p, "blobs/sha256") + place_count(p, "rootfs") + place_count(p, "refs"), 0);
    close(done[0]);
    close(done[1]);
}

/* Pulls and looks: what it has just stored is whole, whatever gc does. */
static void pull_beside_gc(const struct place *p, int who)
{
    struct store *s;
    if (store_open(&s, p->path, NULL))
        _exit(1);
    for (int i = 0; i < 20; i++) {
        char name[64], layer[64];
        struct store_lease *l;
        struct manifest m;
        snprintf(name, sizeof(name), "example.org/p%d:%d", who, i);
        snprintf(layer, sizeof(layer), "of all, %d", i); /* the pullers share layers */
        if (store_lease_begin(s, &l, NULL))
            _exit(2);
        struct digest d = store_image(l, name, layer, 3);
        if (store_manifest_load(s, &d, NULL, &m, NULL))
            _exit(3);
        for (size_t k = 0; k < m.nlayers; k++) {
            if (!store_blob_exists(s, &m.layer[k].digest, m.layer[k].size))
                _exit(4);
        }
        manifest_fini(&m);
        store_lease_end(l);
    }
    _exit(0);
}

static void collecting_beside_pulls_takes_nothing_of_theirs(void **state)
{
    struct place *p = *state;
    pid_t child[3];
    int running = 3, rounds = 0;
    for (int i = 0; i < 3; i++) {
        child[i] = fork();
        if (child[i] == 0)
            pull_beside_gc(p, i);
    }
    while (running > 0) {
        int status = 0;
        assert_int_equal(store_gc(p->store, &(struct gc_options){.all = true}, NULL, NULL), 0);
        rounds++;
        pid_t ended = waitpid(-1, &status, WNOHANG);
        if (ended <= 0)
            continue;
        running--;
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_true(rounds > 3);
    assert_int_equal(store_gc(p->store, &(struct gc_options){.all = true}, NULL, NULL), 0);
    assert_int_equal(place_count(p, "blobs/sha256"), 0);
}

struct looker {
    pthread_t thread;
    struct store *store;
    int seen; /* how often the image seemed to be in use */
};

static void *look(void *arg)
{
    struct looker *x = arg;
    for (int i = 0; i < 500; i++) {
        struct image_list list;
        if (store_list(x->store, &list, NULL) != 0 || list.count != 1)
            abort();
        x->seen += list.item[0].in_use;
        image_list_fini(&list);
    }
    return NULL;
}

/* Each looks by a lock; they do not take each other for somebody who uses the image. */
static void two_who_look_see_no_user(void **state)
{
    struct place *p = *state;
    struct looker looker[2] = {{.store = p->store}, {.store = p->store}};
    struct digest d = store_image(p->lease, "example.org/a:1", "a", 1);
    store_rootfs(p->lease, &d);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&looker[i].thread, NULL, look, &looker[i]), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(looker[i].thread, NULL), 0);
    assert_int_equal(looker[0].seen + looker[1].seen, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, place_set_up, place_tear_down)
        T(processes_download_each_blob_once),
        T(threads_download_each_blob_once),
        T(who_waits_goes_on_where_the_killed_one_stopped),
        T(a_kill_at_any_moment_leaves_nothing_half_believed),
        T(collecting_beside_pulls_takes_nothing_of_theirs),
        T(two_who_look_see_no_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
