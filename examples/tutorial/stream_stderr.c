/* SPDX-License-Identifier: Apache-2.0 */
/* Both streams as they are written, with the whole seconds after which each line came. */
#include "box.h"

#include <time.h>

static const char program[] = "import sys\n"
                              "import time\n"
                              "for step in range(5):\n"
                              "    print(f'step {step + 1} of 5', flush=True)\n"
                              "    if step == 2:\n"
                              "        print('this looks odd', file=sys.stderr, flush=True)\n"
                              "    time.sleep(1)\n"
                              "print('done')\n";

struct stream {
    int number;
    const char *name;
    char line[256]; /* its beginning, so far */
    size_t len;
    int ended;
};

static double seconds(void)
{
    static double first;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double t = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    if (first == 0)
        first = t;
    return t - first;
}

/* Prints the lines that are there. */
static void show(struct cubby_exec *x, struct stream *s)
{
    for (;;) {
        char byte;
        ssize_t n = cubby_exec_read(x, s->number, &byte, 1);
        s->ended = n == 0;
        if (n <= 0)
            return;
        if (s->len < sizeof(s->line) - 1)
            s->line[s->len++] = byte;
        if (byte != '\n')
            continue;
        s->line[s->len] = '\0';
        s->len = 0;
        printf("%.0f [%s] %s", seconds(), s->name, s->line);
        fflush(stdout);
    }
}

static int talk(struct cubby_box *box, struct cubby_error *error)
{
    const char *const argv[] = {"python", "-c", program, NULL};
    struct cubby_exec_options options = {.size = sizeof(options), .argv = argv};
    struct cubby_result result = {.size = sizeof(result)};
    struct stream out = {.number = CUBBY_STDOUT, .name = "stdout"},
                  err = {.number = CUBBY_STDERR, .name = "stderr"};
    struct cubby_exec *x;
    int ret = cubby_exec_start(&x, box, &options, error);
    if (ret < 0)
        return ret;
    while (!out.ended || !err.ended) {
        int wanted = (out.ended ? 0 : CUBBY_CAN_READ_STDOUT) | (err.ended ? 0 : CUBBY_CAN_READ_STDERR);
        cubby_exec_poll(x, wanted, CUBBY_FOREVER);
        show(x, &out);
        show(x, &err);
    }
    ret = cubby_exec_wait(x, CUBBY_FOREVER, &result, error);
    if (ret == 0)
        printf("exit code %d\n", result.exit_code);
    if (ret == 0 && cubby_exec_read(x, CUBBY_STDOUT, out.line, sizeof(out.line)) == 0)
        printf("a stream is there once\n");
    cubby_exec_free(x);
    return ret;
}

int main(void)
{
    struct cubby_box *box = NULL;
    struct cubby_error error;
    int failed = open_box(&box, "python:slim", &error) < 0 || talk(box, &error) < 0;
    cubby_box_destroy(box);
    return failed ? report(&error) : 0;
}
