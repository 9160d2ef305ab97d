/* SPDX-License-Identifier: Apache-2.0 */
/* A command that is ended when the wait for it is given up. */
#include "box.h"

static const char count[] =
    "import glob\n"
    "print(sum(open(p, 'rb').read().startswith(b'sleep') for p in glob.glob('/proc/[0-9]*/cmdline')))\n";

/* How many processes of the box sleep, counted in it. */
static int print_sleepers(struct cubby_box *box, struct cubby_error *error)
{
    const char *const argv[] = {"python", "-c", count, NULL};
    struct cubby_output output;
    int ret = run(box, argv, &output, error);
    if (ret == 0)
        printf("sleepers: %s", output.out);
    cubby_output_free(&output);
    return ret;
}

static void print_status(struct cubby_box *box)
{
    static const char *const names[] = {"configured", "starting", "running", "stopping", "stopped", "failed"};
    printf("status: %s\n", names[cubby_box_state(box)]);
}

static int kill_it(struct cubby_box *box, struct cubby_exec *x, struct cubby_error *error)
{
    struct cubby_result result = {.size = sizeof(result)};
    int ret = print_sleepers(box, error);
    if (ret < 0)
        return ret;
    cubby_exec_kill(x);
    ret = cubby_exec_wait(x, CUBBY_FOREVER, &result, error);
    if (ret < 0)
        return ret;
    printf("killed: %d\n", result.exit_code);
    return print_sleepers(box, error);
}

static int talk(struct cubby_box *box, struct cubby_error *error)
{
    const char *const argv[] = {"sleep", "3600", NULL};
    struct cubby_exec_options options = {.size = sizeof(options), .argv = argv};
    struct cubby_result result = {.size = sizeof(result)};
    struct cubby_exec *x;
    int ret = cubby_exec_start(&x, box, &options, error);
    if (ret < 0)
        return ret;
    ret = cubby_exec_wait(x, 5000, &result, error);
    if (ret == 0)
        printf("it ended: %d\n", result.exit_code);
    else if (ret == CUBBY_ETIMEOUT)
        ret = kill_it(box, x, error);
    cubby_exec_free(x);
    return ret;
}

int main(void)
{
    struct cubby_box *box = NULL;
    struct cubby_error error;
    int failed = open_box(&box, "python:slim", &error) < 0 || talk(box, &error) < 0;
    if (!failed) {
        print_status(box);
        failed = cubby_box_stop(box, CUBBY_GRACE_MS, &error) < 0;
    }
    if (!failed)
        print_status(box);
    cubby_box_destroy(box);
    return failed ? report(&error) : 0;
}
