/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: one warm box, in which two things are measured in turn, a few rounds of each at a
 * time, so that what disturbs the machine disturbs both: the round trip of `true` through libcubby, from
 * cubby_exec_start() until cubby_exec_wait() has its result, with both output streams; and fork, execve and
 * wait of `true` inside the guest (tests/bench/spawn.c, copied there). Clocks: the host's for the first, the
 * guest's for the second.
 *
 *     exec SPAWN_PROGRAM RESULT.json [ROUNDS]
 *
 * Exits with 1 when the median of the first is more than three times that of the second.
 */
#include "base/io.h"
#include "cubby.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_A_TIME   5u
#define ROUNDS_MAX  1000u
#define PATIENCE_MS 120000
#define RATIO_MAX   3.0

struct series {
    const char *name;
    uint64_t ns[ROUNDS_MAX];
    unsigned count;
};

static struct cubby_error error;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "exec: %s: %s\n", what, error.message);
    exit(2);
}

/* Runs it to its end, which must be exit code 0; its stdout in `out` (may be NULL). How long that took. */
static uint64_t execute(struct cubby_box *box, const char *const *argv, char *out, size_t cap)
{
    struct cubby_exec *x;
    struct cubby_result r = {.size = sizeof(r)};
    const struct cubby_exec_options o = {.size = sizeof(o), .argv = argv};
    uint64_t begun = now_ns();
    if (cubby_exec_start(&x, box, &o, &error) < 0 || cubby_exec_wait(x, PATIENCE_MS, &r, &error) < 0)
        die(argv[0]);
    uint64_t took = now_ns() - begun;
    if (r.how != CUBBY_EXITED || r.exit_code != 0) {
        snprintf(error.message, sizeof(error.message), "it ended by %d, code %d", r.how, r.exit_code);
        die(argv[0]);
    }
    ssize_t n = out ? cubby_exec_read(x, CUBBY_STDOUT, out, cap - 1) : 0;
    if (out)
        out[n > 0 ? n : 0] = '\0';
    cubby_exec_free(x);
    return took;
}

static void measure_round_trips(struct cubby_box *box, struct series *s)
{
    static const char *const argv[] = {"true", NULL};
    for (unsigned i = 0; i < AT_A_TIME; i++) {
        s->ns[s->count++] = execute(box, argv, NULL, 0);
    }
}

static void measure_spawns(struct cubby_box *box, struct series *s)
{
    char count[16], out[4096], *line = out;
    snprintf(count, sizeof(count), "%u", AT_A_TIME);
    const char *const argv[] = {"/tmp/spawn", count, NULL};
    execute(box, argv, out, sizeof(out));
    for (unsigned i = 0; i < AT_A_TIME; i++)
        s->ns[s->count++] = strtoull(line, &line, 10);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static double percentile_us(const struct series *s, unsigned percent)
{
    static uint64_t sorted[ROUNDS_MAX];
    memcpy(sorted, s->ns, s->count * sizeof(*sorted));
    qsort(sorted, s->count, sizeof(*sorted), by_size);
    return (double)sorted[((s->count - 1) * percent + 50) / 100] / 1000;
}

static void print_series(const struct series *s)
{
    printf("%-56s %12.0f %12.0f\n", s->name, percentile_us(s, 50), percentile_us(s, 99));
}

static void write_series(FILE *f, const char *key, const struct series *s)
{
    fprintf(f, " \"%s\": [", key);
    for (unsigned i = 0; i < s->count; i++)
        fprintf(f, "%s%llu", i ? ", " : "", (unsigned long long)s->ns[i]);
    fprintf(f, "],\n");
}

static struct cubby_box *warm_box(const char *spawn)
{
    struct cubby_box *box;
    static struct series ignored;
    const struct cubby_copy_options copy = {.size = sizeof(copy)};
    if (cubby_box_create(&box, NULL, &error) < 0 || cubby_box_start(box, &error) < 0 ||
        cubby_copy_in(box, spawn, "/tmp/spawn", &copy, NULL, &error) < 0)
        die("no box");
    measure_round_trips(box, &ignored);
    measure_spawns(box, &ignored);
    return box;
}

int main(int argc, char **argv)
{
    static struct series trips = {.name = "cubby_exec_start() to the result of cubby_exec_wait()"};
    static struct series spawns = {.name = "fork, execve and wait in the guest"};
    unsigned rounds = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 100;
    if (argc < 3 || rounds < AT_A_TIME || rounds > ROUNDS_MAX - AT_A_TIME) {
        fprintf(stderr, "usage: exec SPAWN_PROGRAM RESULT.json [ROUNDS]\n");
        return 2;
    }
    struct cubby_box *box = warm_box(argv[1]);
    while (trips.count < rounds) {
        measure_round_trips(box, &trips);
        measure_spawns(box, &spawns);
    }
    cubby_box_destroy(box);
    double ratio = percentile_us(&trips, 50) / percentile_us(&spawns, 50);
    printf("%-56s %12s %12s   n=%u\n", "`true`, in a warm box", "median us", "p99 us", trips.count);
    print_series(&trips);
    print_series(&spawns);
    printf("ratio of the medians: %.2f (at most %.0f)\n", ratio, RATIO_MAX);
    FILE *f = fopen(argv[2], "we");
    if (!f) {
        perror(argv[2]);
        return 2;
    }
    fprintf(f, "{\n");
    write_series(f, "round_trip_ns", &trips);
    write_series(f, "spawn_in_guest_ns", &spawns);
    fprintf(f, " \"ratio\": %.3f\n}\n", ratio);
    return fclose(f) == 0 && ratio <= RATIO_MAX ? 0 : 1;
}
